"""Which faults there are, when they can strike a task, and how it must then end.

All of it is values: nothing here runs anything. The faults are those of the sandbox, by its own
list, so that a new one without a rule fails a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.faults import ARTIFACT, KINDS
from tests.chaos.rules import ACTS, AT_STORE, PASSING_AT_STORE, RULES, End, Never

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.chaos.rules import Ends, Rule

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
"""The request of each phase that is struck."""

LISTS = {"resolving": "GET /projects", "dispatching": "GET /builds"}
"""The lists that a task reads, for faults that only lists can have."""

NEEDS_SOCKET = ("socket", "connect", "join", "event")


@dataclass(frozen=True)
class Row:
    """A fault at a place.

    :param kind: its name among the sandbox's faults, or among the acts.
    :param at_store: a fault of HTTP that strikes the artifact store instead of the API.
    """

    kind: str
    rule: Rule
    at_store: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, at the store" if self.at_store else self.kind

    @property
    def place(self) -> str:
        """Where it strikes."""
        return KINDS[self.kind].place if self.kind in KINDS else "act"

    @property
    def socket_only(self) -> bool:
        """Whether it takes a live channel to feel it."""
        return self.place in NEEDS_SOCKET or self.kind == "the service is deployed"

    def route(self, phase: str) -> str | None:
        """Give the route that is struck, None where none has to be named."""
        if self.at_store or self.place == "store":
            return ARTIFACT
        if self.kind in {"endless-pages", "stale"} and phase in LISTS:
            return LISTS[phase]
        return ROUTES[phase] if self.place == "http" else None


@cache
def rows() -> tuple[Row, ...]:
    """List the sandbox's faults, those of HTTP also at the store, and the acts."""
    known = [Row(kind, RULES[kind]) for kind in KINDS]
    stores = [
        Row(kind, AT_STORE.get(kind, PASSING_AT_STORE), at_store=True)
        for kind in KINDS
        if KINDS[kind].place == "http"
    ]
    return (*known, *stores, *(Row(kind, rule) for kind, rule in ACTS.items()))


@dataclass(frozen=True)
class Cell:
    """A fault that strikes a task in a phase, a mode, over a channel."""

    row: Row
    phase: str
    mode: str
    channel: str

    def __str__(self) -> str:
        return f"{self.row}-{self.phase}-{self.mode}-{self.channel}"

    @cached_property
    def end(self) -> Ends:
        """How the task must end, or why this cannot happen."""
        end = self.row.rule.end(self.phase)
        if isinstance(end, Never):
            return end
        if self.phase == "downloading" and (self.mode, self.channel) != ("blocking", "polling"):
            return Never("a download is neither deferred nor does it listen")
        if self.channel == "polling" and self.phase == "joining":
            return Never("who polls joins no room")
        if self.channel == "polling" and self.row.socket_only:
            return Never("who polls has no socket")
        return end

    @property
    def builds(self) -> int:
        """How many builds must have been started in the end."""
        end = self.end
        gone = isinstance(end, End) and end.error is not None and not end.retried
        return 0 if gone and self.phase in {"resolving", "dispatching"} else 1


@cache
def cells() -> tuple[Cell, ...]:
    """List all cells, those that cannot happen included."""
    return tuple(Cell(*cell) for cell in product(rows(), PHASES, MODES, CHANNELS))


def possible(among: Iterable[Cell]) -> tuple[Cell, ...]:
    """Leave out the cells that cannot happen."""
    return tuple(cell for cell in among if isinstance(cell.end, End))


QUICK = 10.0
"""Seconds above which a cell is left to the full run, where its fault has a quicker one."""


@cache
def sample() -> tuple[Cell, ...]:
    """Choose one cell for each fault that can strike, spread over phases, modes and channels."""
    used = dict.fromkeys((*PHASES, *MODES, *CHANNELS), 0)
    chosen = []
    for row in rows():
        cell = min(
            possible(cell for cell in cells() if cell.row == row and _quick(cell)),
            key=lambda cell: used[cell.phase] * 4 + used[cell.mode] + used[cell.channel],
            default=None,
        )
        if cell is not None:
            chosen.append(cell)
            for name in (cell.phase, cell.mode, cell.channel):
                used[name] += 1
    return tuple(chosen)


def _quick(cell: Cell) -> bool:
    return isinstance(cell.end, End) and cell.end.slow < QUICK
