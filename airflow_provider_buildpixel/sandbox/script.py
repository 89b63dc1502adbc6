"""The log of a build: which lines, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.plans import Plan


@dataclass(frozen=True)
class Subject:
    """What the lines of a log speak of."""

    project: str
    platform: str
    build_type: str
    source: str
    ue_version: str
    source_control: str


@dataclass(frozen=True)
class Line:
    """One line, so many seconds after the build began to run."""

    after: float
    level: str
    message: str


@dataclass(frozen=True)
class Phase:
    """One phase: its share of the time, its first line in both spellings, and what follows."""

    name: str
    share: float
    opening: str
    terse: str
    filler: tuple[str, ...]


PHASES = (
    Phase(
        "source sync",
        0.10,
        "Syncing {project} from {source_control}: {source}",
        "Syncing {project} from {source_control}: {source}",
        ("Updating files: {percent}% done", "LFS: {n} objects fetched"),
    ),
    Phase(
        "compile",
        0.40,
        "*** COMPILING {project} {platform} {build_type} ***",
        "*** COMPILING ... ***",
        (
            "[{n}/240] Compile Module.{project}.{n}.cpp",
            "[{n}/240] Compile {project}Character.cpp",
            "UnrealBuildTool: {percent}% of actions, Unreal Engine {ue_version}",
        ),
    ),
    Phase(
        "cook",
        0.30,
        "LogCook: Cooking maps from path /Game/Maps",
        "LogCook: Cooking maps from path...",
        (
            "LogCook: Display: Cooked packages {n} Packages Remain {left} Total 1200",
            "LogShaderCompilers: Display: {n} shaders compiled",
            "LogCook: Display: Cooking /Game/Maps/Level{n}",
        ),
    ),
    Phase(
        "stage",
        0.10,
        "LogStaging: Staging {project} for {platform}",
        "LogStaging: Staging...",
        ("LogStaging: Copied {n} files", "LogPakFile: pakchunk{n}: {percent}% written"),
    ),
    Phase(
        "upload",
        0.10,
        "Uploading artifact",
        "Uploading artifact",
        ("Uploaded {percent}% of {project}-{platform}-{build_type}.tar.gz",),
    ),
)


@dataclass(frozen=True)
class Flavour:
    """A way to fail: the phase in which it happens and the lines that tell."""

    phase: str
    errors: tuple[str, ...]


FLAVOURS = {
    "compile": Flavour(
        "compile",
        ("LogPlayLevel: Error: MyGameModule.cpp(42): error C2065: 'Gravity': undeclared",),
    ),
    "cook": Flavour("cook", ("LogCook: Error: Failed to cook /Game/Maps/Level3",)),
    "stage": Flavour("stage", ("LogStaging: Error: No space left on device",)),
    "repository": Flavour(
        "source sync", ("fatal: could not read Username for 'https://github.com'",)
    ),
    "perforce": Flavour("source sync", ("Perforce password (P4PASSWD) invalid or unset.",)),
}


def script(plan: Plan, subject: Subject, *, terse: bool = False) -> Iterator[Line]:
    """Yield the lines of a build that goes as planned, in order of time."""
    yield from _body(plan, subject, terse=terse)
    if plan.outcome == "failed":
        for error in plan.errors or FLAVOURS[plan.failure].errors:
            yield Line(plan.run, "error", error)
        yield Line(plan.run, "error", "BUILD FAILED")
    elif plan.outcome == "complete":
        yield Line(plan.run, "info", "BUILD SUCCESSFUL")


def _body(plan: Plan, subject: Subject, *, terse: bool) -> Iterator[Line]:
    if isinstance(plan.lines, tuple):
        pause = plan.run / (len(plan.lines) + 1)
        for n, message in enumerate(plan.lines, 1):
            yield Line(n * pause, level_of(message), message)
        return
    phases = _phases(plan)
    scale = plan.run / sum(phase.share for phase in phases)
    begun = 0.0
    for phase in phases:
        count = max(1, round(plan.lines * phase.share * scale / (plan.run or 1)))
        yield from _phase(phase, begun, phase.share * scale, count, subject, terse=terse)
        begun += phase.share * scale


def _phase(
    phase: Phase, begun: float, length: float, count: int, subject: Subject, *, terse: bool
) -> Iterator[Line]:
    facts = vars(subject)
    yield Line(begun, "info", (phase.terse if terse else phase.opening).format(**facts))
    for n in range(1, count):
        percent = 100 * n // count
        message = phase.filler[n % len(phase.filler)]
        text = message.format(n=n, left=1200 - min(n, 1200), percent=percent, **facts)
        yield Line(begun + length * n / count, "info", text)


def _phases(plan: Plan) -> tuple[Phase, ...]:
    if plan.outcome not in {"failed", "dies"}:
        return PHASES
    names = [phase.name for phase in PHASES]
    return PHASES[: names.index(FLAVOURS[plan.failure].phase) + 1]


def level_of(message: str) -> str:
    """Return the level a line would have by its words."""
    lowered = message.lower()
    if "error" in lowered or "fatal" in lowered or "failed" in lowered:
        return "error"
    return "warn" if "warning" in lowered else "info"
