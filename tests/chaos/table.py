"""All cells of the matrix: fault, phase, mode and channel, with the expected end of the task.

This module only computes values. The faults come from the sandbox's own list, so a new one without
a rule fails a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.faults.catalog import ARTIFACT, KINDS
from tests.chaos.rules import ACTIONS, AT_STORE, DEFAULT_AT_STORE, RULES, End, Impossible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.rules import Expected, Rule

PHASES = ("resolving", "dispatching", "joining", "waiting", "concluding", "downloading")
MODES = ("blocking", "deferrable")
CHANNELS = ("socket", "polling")
ROUTES = {
    "resolving": "GET /projects",
    "dispatching": "POST trigger",
    "joining": "GET /builds/:id",
    "waiting": "GET /builds/:id",
    "concluding": "GET /builds/:id",
    "downloading": "GET /builds/:id/download",
}
"""The request of each phase into which faults are injected."""

LISTS = {"resolving": "GET /projects", "dispatching": "GET /builds"}
"""The lists that a task reads, for faults that only lists can have."""

NEEDS_SOCKET = ("socket", "connect", "join", "event")


@dataclass(frozen=True)
class Row:
    """A fault at the API or at the artifact store.

    :param kind: its name among the sandbox's faults, or among the actions.
    :param at_store: an HTTP fault that is injected at the artifact store instead of the API.
    """

    kind: str
    rule: Rule
    at_store: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, at the store" if self.at_store else self.kind

    @property
    def layer(self) -> str:
        """The layer of the fault in the sandbox."""
        return KINDS[self.kind].layer if self.kind in KINDS else "action"

    @property
    def socket_only(self) -> bool:
        """Whether it affects only tasks with a live channel."""
        return self.layer in NEEDS_SOCKET or self.kind == "the service is deployed"

    def route(self, phase: str) -> str | None:
        """Return the route of the fault, None if it needs none."""
        if self.at_store or self.layer == "store":
            return ARTIFACT
        if self.kind in {"endless-pages", "stale"} and phase in LISTS:
            return LISTS[phase]
        return ROUTES[phase] if self.layer == "http" else None


@cache
def rows() -> tuple[Row, ...]:
    """Return the sandbox's faults, HTTP faults also at the store, and the actions."""
    known = [Row(kind, RULES[kind]) for kind in KINDS]
    stores = [
        Row(kind, AT_STORE.get(kind, DEFAULT_AT_STORE), at_store=True)
        for kind in KINDS
        if KINDS[kind].layer == "http"
    ]
    return (*known, *stores, *(Row(kind, rule) for kind, rule in ACTIONS.items()))


@dataclass(frozen=True)
class Cell:
    """A fault in one phase of a task, in one mode and over one channel."""

    row: Row
    phase: str
    mode: str
    channel: str

    def __str__(self) -> str:
        return f"{self.row}-{self.phase}-{self.mode}-{self.channel}"

    @cached_property
    def end(self) -> Expected:
        """How the task must end, or why this cannot happen."""
        end = self.row.rule.end(self.phase)
        if isinstance(end, Impossible):
            return end
        if self.phase == "downloading" and (self.mode, self.channel) != ("blocking", "polling"):
            return Impossible("a download is not deferred and uses no live channel")
        if self.channel == "polling" and self.phase == "joining":
            return Impossible("polling joins no room")
        if self.channel == "polling" and self.row.socket_only:
            return Impossible("polling uses no socket")
        return end

    @property
    def builds(self) -> int:
        """How many builds must have been started at the end."""
        end = self.end
        failed = isinstance(end, End) and end.error is not None and not end.retried
        return 0 if failed and self.phase in {"resolving", "dispatching"} else 1


@cache
def cells() -> tuple[Cell, ...]:
    """Return all cells, including those that cannot happen."""
    return tuple(Cell(*cell) for cell in product(rows(), PHASES, MODES, CHANNELS))


def possible(among: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return the cells that can happen."""
    return tuple(cell for cell in among if isinstance(cell.end, End))


MAX_SAMPLE_SECONDS = 10.0
"""Slower cells are not in the sample."""


@cache
def sample() -> tuple[Cell, ...]:
    """Return one cell for each fault, spread over phases, modes and channels."""
    used = dict.fromkeys((*PHASES, *MODES, *CHANNELS), 0)
    selected = []
    for row in rows():
        cell = min(
            possible(cell for cell in cells() if cell.row == row and _is_quick(cell)),
            key=lambda cell: used[cell.phase] * 4 + used[cell.mode] + used[cell.channel],
            default=None,
        )
        if cell is not None:
            selected.append(cell)
            for name in (cell.phase, cell.mode, cell.channel):
                used[name] += 1
    return tuple(selected)


def _is_quick(cell: Cell) -> bool:
    return isinstance(cell.end, End) and cell.end.slow < MAX_SAMPLE_SECONDS
