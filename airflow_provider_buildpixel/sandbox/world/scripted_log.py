"""The log of a build: its lines, and when each is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_buildpixel.sandbox.world.plans import Plan


@dataclass(frozen=True)
class LogContext:
    """Values that the text of log lines refers to."""

    project: str
    platform: str
    build_type: str
    source: str
    ue_version: str
    source_control: str


@dataclass(frozen=True)
class ScriptedLine:
    """One log line, written `after` seconds from the start of the run."""

    after: float
    level: str
    message: str


@dataclass(frozen=True)
class LogPhase:
    """One phase of a build.

    :param share: share of the run time.
    :param first_line: the phase marker, filled in with details.
    :param literal_first_line: the phase marker exactly as documented.
    :param filler: the lines that follow, in rotation.
    """

    name: str
    share: float
    first_line: str
    literal_first_line: str
    filler: tuple[str, ...]


PHASES = (
    LogPhase(
        "source sync",
        0.10,
        "Syncing {project} from {source_control}: {source}",
        "Syncing {project} from {source_control}: {source}",
        ("Updating files: {percent}% done", "LFS: {n} objects fetched"),
    ),
    LogPhase(
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
    LogPhase(
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
    LogPhase(
        "stage",
        0.10,
        "LogStaging: Staging {project} for {platform}",
        "LogStaging: Staging...",
        ("LogStaging: Copied {n} files", "LogPakFile: pakchunk{n}: {percent}% written"),
    ),
    LogPhase(
        "upload",
        0.10,
        "Uploading artifact",
        "Uploading artifact",
        ("Uploaded {percent}% of {project}-{platform}-{build_type}.tar.gz",),
    ),
)


@dataclass(frozen=True)
class FailureKind:
    """A kind of failure: the phase in which it occurs, and its error lines."""

    phase: str
    errors: tuple[str, ...]


FAILURES = {
    "compile": FailureKind(
        "compile",
        ("LogPlayLevel: Error: MyGameModule.cpp(42): error C2065: 'Gravity': undeclared",),
    ),
    "cook": FailureKind("cook", ("LogCook: Error: Failed to cook /Game/Maps/Level3",)),
    "stage": FailureKind("stage", ("LogStaging: Error: No space left on device",)),
    "repository": FailureKind(
        "source sync", ("fatal: could not read Username for 'https://github.com'",)
    ),
    "perforce": FailureKind("source sync", ("Perforce password (P4PASSWD) invalid or unset.",)),
}


def scripted_log(
    plan: Plan, context: LogContext, *, literal: bool = False
) -> Iterator[ScriptedLine]:
    """Yield the log lines of a build that follows its plan, in order of time."""
    yield from _body(plan, context, literal=literal)
    if plan.outcome == "failed":
        for error in plan.errors or FAILURES[plan.failure].errors:
            yield ScriptedLine(plan.run, "error", error)
        yield ScriptedLine(plan.run, "error", "BUILD FAILED")
    elif plan.outcome == "complete":
        yield ScriptedLine(plan.run, "info", "BUILD SUCCESSFUL")


def _body(plan: Plan, context: LogContext, *, literal: bool) -> Iterator[ScriptedLine]:
    if isinstance(plan.lines, tuple):
        pause = plan.run / (len(plan.lines) + 1)
        for n, message in enumerate(plan.lines, 1):
            yield ScriptedLine(n * pause, level_of(message), message)
        return
    phases = _phases(plan)
    scale = plan.run / sum(phase.share for phase in phases)
    start = 0.0
    for phase in phases:
        count = max(1, round(plan.lines * phase.share * scale / (plan.run or 1)))
        yield from _phase(phase, start, phase.share * scale, count, context, literal=literal)
        start += phase.share * scale


def _phase(
    phase: LogPhase,
    start: float,
    length: float,
    count: int,
    context: LogContext,
    *,
    literal: bool,
) -> Iterator[ScriptedLine]:
    details = vars(context)
    first_line = phase.literal_first_line if literal else phase.first_line
    yield ScriptedLine(start, "info", first_line.format(**details))
    for n in range(1, count):
        percent = 100 * n // count
        message = phase.filler[n % len(phase.filler)]
        text = message.format(n=n, left=1200 - min(n, 1200), percent=percent, **details)
        yield ScriptedLine(start + length * n / count, "info", text)


def _phases(plan: Plan) -> tuple[LogPhase, ...]:
    if plan.outcome not in {"failed", "dies"}:
        return PHASES
    names = [phase.name for phase in PHASES]
    return PHASES[: names.index(FAILURES[plan.failure].phase) + 1]


def level_of(message: str) -> str:
    """Return the log level that the words of a line suggest."""
    lowered = message.lower()
    if "error" in lowered or "fatal" in lowered or "failed" in lowered:
        return "error"
    return "warn" if "warning" in lowered else "info"
