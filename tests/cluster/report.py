"""The results as Markdown."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

from tests.cluster.scenario import DRAIN, KILLS, NO_SOCKETS, OUTAGE, RECOVERY, SETTLING
from tests.cluster.verification import count_by_kind, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.cluster.results import Results

PACKAGES = ("apache-airflow", "apache-airflow-providers-celery", "celery")
SPREAD_COLUMNS = ("median", "95 %", "maximum")
PHASE_TITLES = {
    KILLS: "during the kills",
    NO_SOCKETS: "without sockets",
    SETTLING: "while tasks settled",
    OUTAGE: "during the outage (measured from its end)",
    RECOVERY: "during the recovery",
    DRAIN: "after all faults",
}


def report(results: Results) -> str:
    """Return all tables."""
    parts = [_conditions, _checks, _violations, _kills, _recoveries, _delays, _load, _tries]
    return "\n\n".join(text for part in parts if (text := part(results)))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _conditions(results: Results) -> str:
    scenario = results.scenario
    minutes = (results.spans[DRAIN][1] - results.spans[KILLS][0]) / 60
    return (
        f"One run of {minutes:.0f} minutes on {os.cpu_count()} cores, which other work also used, "
        f"with {', '.join(f'{name} {version(name)}' for name in PACKAGES)}: "
        f"{scenario.builds} builds in 20 Dag runs; {scenario.kills / 60:.1f} minutes of kills, one "
        f"every {scenario.kill_interval:.0f} s on average; {scenario.outage / 60:.1f} minutes of "
        f"outage; {scenario.no_sockets / 60:.0f} minutes without sockets by the sandbox's clock, "
        f"which are {scenario.real_no_sockets / 60:.1f} minutes of real time: that clock ran "
        f"{scenario.speed:.0f} times as fast."
    )


def _checks(results: Results) -> str:
    rows = [
        (
            check.name,
            "?" if check.measured is None else check.measured,
            f"{'≥ ' if check.at_least else ''}{check.expected}",
            "met" if check.met else "**not met**",
        )
        for check in results.checks()
    ]
    return _table("Checks", ("", "measured", "expected", ""), rows)


def _violations(results: Results) -> str:
    """Return details of each violation, to find its cause."""
    violations = [
        f"- {each.kind}, {each.branch}: {each.details}" for each in results.verification.violations
    ]
    return "\n".join([*violations, *(f"- {note}" for note in results.notes)])


def _kills(results: Results) -> str:
    counts = count_by_kind(kill.description for kill in results.kills)
    table = _table("Killed processes", ("", "kills"), [*counts, ("total", len(results.kills))])
    return f"{table}\n\nComponents were restarted {results.restarts} times."


def _recoveries(results: Results) -> str:
    rows = [(kind, *_with_count(s)) for kind, s in sorted(results.recoveries.items())]
    takeover = "waits of a killed triggerer, until other triggerers run all of them"
    rows.append((takeover, *_with_count(results.takeover_times)))
    title = "Seconds from the end of a component until it was ready again"
    return _table(title, ("", "count", *SPREAD_COLUMNS), rows)


def _delays(results: Results) -> str:
    rows = [(title, *_with_count(results.delays(phase))) for phase, title in PHASE_TITLES.items()]
    title = "Seconds from the end of a build to the end of its task"
    return _table(title, ("the build ended", "builds", *SPREAD_COLUMNS), rows)


def _with_count(seconds: list[float]) -> tuple[object, ...]:
    return (len(seconds), *spread(seconds))


def _load(results: Results) -> str:
    running = [sample.counts.running for sample in results.waiting_only]
    waits = [sample.waiting for sample in results.waiting_only]
    ratio = results.slots_per_wait
    retry_builds = results.verification.retry_builds
    rows = [
        ("tasks waiting at the same time, maximum", max(s.waiting for s in results.samples)),
        ("worker slots", results.slots),
        ("samples in which tasks only waited", len(running)),
        (
            "waiting tasks in these samples",
            f"{min(waits, default=0)} to {max(waits, default=0)}",
        ),
        (
            "worker slots in use in these samples",
            f"{min(running, default=0)} to {max(running, default=0)}",
        ),
        (
            "worker slots in use over the whole run, per waiting task",
            "?" if ratio is None else f"{ratio:.3f}",
        ),
        (
            "trigger requests received by BuildPixel, including refused ones",
            results.trigger_requests,
        ),
        ("builds started by a retry after the task's build had failed", retry_builds),
    ]
    return _table("Load", ("", ""), rows)


def _tries(results: Results) -> str:
    tries = [task.tries for task in results.tasks]
    rows = [*sorted(results.reasons.items()), ("total", sum(results.reasons.values()))]
    events = ", ".join(f"{name} {count}" for name, count in results.events.items())
    title = "Why all tries but the last ended, from their logs"
    return (
        f"{_table(title, ('', 'tries'), rows)}\n\n"
        f"{sum(number == 1 for number in tries)} of {len(tries)} tasks needed one try; the maximum "
        f"was {max(tries, default=0)}. Events of these tasks in Airflow's audit log: {events}."
    )
