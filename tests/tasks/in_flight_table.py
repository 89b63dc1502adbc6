"""What ``on_in_flight`` does about a live build: a table that is test and documentation.

``python -m tests.tasks.in_flight_table`` writes it into docs/how-to/supersession.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook
from tests.docs.tables import write_table
from tests.tasks.stage import WIN64

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox

PAGE = "docs/how-to/supersession.md"
TABLE = "live builds"
POLICIES = ("supersede", "adopt", "wait", "fail")

CANCELS = "cancels it, names it in the log"
ADOPTS = "waits for it, returns its facts"
WAITS = "waits for its end, then dispatches"
FAILS = "`BuildInFlight`, no dispatch"
IGNORES = "dispatches; the live build goes on"


@dataclass(frozen=True)
class Row:
    """One live build, and what each policy does about it.

    :param wanted: parameters of the task.
    :param live: how the live build differs: its branch, commit, engine version or stream.
    """

    live_build: str
    wanted: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)
    ends: tuple[str, str, str, str] = (CANCELS, ADOPTS, WAITS, FAILS)

    def start(self, sandbox: Sandbox) -> str:
        """Start the live build; return its id."""
        sandbox.plan(outcome="hangs", queue=0.1)
        setting = sandbox.setting("MyGame", **WIN64)
        live = dict(self.live)
        if version := live.pop("ue_version", None):
            hook = BuildPixelHook()
            other = hook.create_build_setting(
                setting["projectId"],
                platform=setting["platform"],
                build_type=setting["buildType"],
                ue_version=version,
                branch=setting["branch"],
                trigger="manual",
            )
            hook.close()
            return str(sandbox.push(other.id, **live))
        return str(sandbox.push(setting["id"], **live))


DIFFERENT = (CANCELS, CANCELS, WAITS, FAILS)
ROWS = (
    Row("of the same setting; the task asks for no commit"),
    Row("of the commit that the task asks for", {"commit": "4be7a1c"}, {"commit": "4be7a1c0ffee"}),
    Row("of another commit", {"commit": "4be7a1c"}, {"commit": "fedcba987654"}, DIFFERENT),
    Row("of another build setting of the same kind", {}, {"ue_version": "5.3"}, DIFFERENT),
    Row(
        "of another branch or stream: another kind",
        {},
        {"branch": "next"},
        (IGNORES, IGNORES, IGNORES, IGNORES),
    ),
)


def table() -> str:
    """Return the table as Markdown."""
    rows = ["| a live build … | " + " | ".join(f'`"{name}"`' for name in POLICIES) + " |"]
    rows += ["|---" * (len(POLICIES) + 1) + "|"]
    rows += [f"| {row.live_build} | {' | '.join(row.ends)} |" for row in ROWS]
    return "\n".join(rows)


if __name__ == "__main__":
    write_table(PAGE, TABLE, table())
