"""The figures as Markdown."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

from tests.cluster.course import DEAF, DRAIN, OUTAGE, RECOVERY, SETTLING, STORM
from tests.cluster.judging import sorts, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tests.cluster.findings import Findings

MARK = "<!-- measured -->"
PACKAGES = ("apache-airflow", "apache-airflow-providers-celery", "celery")
SPREAD = ("median", "95 %", "most")
ENDED = {
    STORM: "in the storm",
    DEAF: "without sockets",
    SETTLING: "until all was settled",
    OUTAGE: "in the outage (counted from its end)",
    RECOVERY: "in the recovery after it",
    DRAIN: "after all trouble",
}


def write(page: Path, found: Findings) -> None:
    """Put the figures below the mark of a page, which stays as it is above it."""
    above = page.read_text().partition(MARK)[0]
    page.write_text(f"{above}{MARK}\n\n{report(found)}")


def report(found: Findings) -> str:
    """Give all figures."""
    parts = [_conditions, _verdict, _faults, _kills, _recoveries, _delays, _load, _tries]
    return "\n\n".join(text for part in parts if (text := part(found))) + "\n"


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _conditions(found: Findings) -> str:
    course = found.course
    minutes = (found.spans[DRAIN][1] - found.spans[STORM][0]) / 60
    return (
        f"One run of {minutes:.0f} minutes on {os.cpu_count()} cores, which other work was using "
        f"too, with {', '.join(f'{name} {version(name)}' for name in PACKAGES)}: "
        f"{course.builds} builds in 20 Dag runs; {course.storm / 60:.1f} minutes of kills, one "
        f"every {course.every:.0f} s on average; {course.outage / 60:.1f} minutes of outage; "
        f"{course.deaf / 60:.0f} minutes of the sandbox without sockets, "
        f"{course.deaf_for / 60:.1f} by the clock on the wall: the sandbox's ran "
        f"{course.speed:.0f} times as fast all the time."
    )


def _verdict(found: Findings) -> str:
    rows = [
        (
            check.claim,
            "?" if check.measured is None else check.measured,
            f"{'≥ ' if check.least else ''}{check.wanted}",
            "met" if check.met else "**not met**",
        )
        for check in found.checks()
    ]
    return _table("Verdict", ("", "measured", "wanted", ""), rows)


def _faults(found: Findings) -> str:
    """Name each fault, for whoever has to look for its cause."""
    faults = [f"- {each.kind}, {each.branch}: {each.words}" for each in found.judgement.faults]
    return "\n".join([*faults, *(f"- {note}" for note in found.notes)])


def _kills(found: Findings) -> str:
    rows = [*sorts(kill.sort for kill in found.kills), ("all", len(found.kills))]
    again = f"Components were started again {found.restarts} times."
    return f"{_table('What was killed', ('', 'kills'), rows)}\n\n{again}"


def _recoveries(found: Findings) -> str:
    rows = [(kind, len(s), *spread(s)) for kind, s in sorted(found.recoveries.items())]
    rows.append(("waits of a killed triggerer, until others have all", *_counted(found.moved)))
    title = "Seconds from the end of a component until it was ready again"
    return _table(title, ("", "times", *SPREAD), rows)


def _delays(found: Findings) -> str:
    rows = [(name, *_counted(found.delays(phase))) for phase, name in ENDED.items()]
    title = "Seconds from the end of a build to the end of its task"
    return _table(title, ("the build ended", "builds", *SPREAD), rows)


def _counted(seconds: list[float]) -> tuple[object, ...]:
    return (len(seconds), *spread(seconds))


def _load(found: Findings) -> str:
    held = [sample.look.held for sample in found.quiet]
    waits = [sample.waiting for sample in found.quiet]
    share = found.held_share
    rows = [
        ("tasks that waited at a time, most", max(s.waiting for s in found.samples)),
        ("slots of all workers", found.slots),
        ("samples in which tasks only waited", len(held)),
        ("tasks that waited then", f"{min(waits, default=0)} to {max(waits, default=0)}"),
        ("slots that were held then", f"{min(held, default=0)} to {max(held, default=0)}"),
        (
            "slots held over the whole run, per waiting task",
            "?" if share is None else f"{share:.3f}",
        ),
        ("trigger requests that BuildPixel got, refused ones included", found.posted),
        ("builds that a retry started after the task's build had failed", found.judgement.again),
    ]
    return _table("Load", ("", ""), rows)


def _tries(found: Findings) -> str:
    tries = [task.tries for task in found.told]
    rows = [*sorted(found.reasons.items()), ("all", sum(found.reasons.values()))]
    events = ", ".join(f"{name} {count}" for name, count in found.events.items())
    title = "What ended tries that were not the last, by their logs"
    return (
        f"{_table(title, ('', 'tries'), rows)}\n\n"
        f"{sum(number == 1 for number in tries)} of {len(tries)} tasks needed one try, the "
        f"unluckiest {max(tries, default=0)}. Airflow's audit log of these tasks: {events}."
    )
