"""A BuildPixel on simulated time: its builds, and its answers as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zlib import crc32

from airflow_provider_buildpixel.api.errors import NotFound
from tests.simulation.schedule import GITHUB, PERFORCE, SETTINGS, setting_id
from tests.simulation.world.builds import ORDERS, SimBuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulation.schedule import ServiceSpec, SettingSpec
    from tests.simulation.world.builds import SortKey
    from tests.simulation.world.history import Request

OUR_USER = "user:us"
"""How builds of our token are marked where they bear the name of its user."""


def first_commit(line: str) -> str:
    """Return the newest commit of a branch at the start of a schedule."""
    return commit_id(crc32(line.encode()) % 1000 * 1000)


def normal_line(name: str) -> str:
    """Return a branch or stream in the service's own spelling."""
    return name.strip().removeprefix("refs/heads/")


def commit_id(number: int) -> str:
    """Return the hash of a commit."""
    return f"{crc32(b'%d' % number):08x}" + f"{number:032x}"


class Service:
    """The builds and settings of one organization."""

    def __init__(self, spec: ServiceSpec) -> None:
        self.spec = spec
        self.settings = dict(SETTINGS)
        self.builds: list[SimBuild] = []
        self.by_id: dict[str, SimBuild] = {}
        self.heads: dict[str, int] = {}
        self._cursors: dict[str, SortKey] = {}
        self.is_edited = False
        self._rows: dict[tuple[str, str, bool], dict[str, Any]] = {}
        self._setting_rows: dict[tuple[str, SettingSpec], dict[str, Any]] = {}

    def push(self, line: str) -> str:
        """Add a commit to a branch; return its hash."""
        self.heads[line] = self.heads.get(line, 0) + 1
        return self.head(line)

    def head(self, line: str) -> str:
        """Return the newest commit of a branch."""
        pushes = self.heads.get(line, 0)
        return commit_id(int(first_commit(line)[8:], 16) + pushes)

    def create(
        self,
        now: float,
        setting: str,
        triggered_by: str | None,
        body: dict[str, Any],
        request: Request | None = None,
    ) -> tuple[SimBuild, list[SimBuild]]:
        """Create a build; return it and the live builds that it supersedes."""
        spec = self.settings[setting]
        line = normal_line(body.get("branch") or spec.line)
        number = len(self.builds)
        outcome = "failed" if self.spec.outcomes[number % len(self.spec.outcomes)] == "f" else ""
        is_git, commit = spec.project == GITHUB, str(body.get("commit") or "").strip()
        starts = now + self.spec.queue
        build = SimBuild(
            self._new_id(now, number),
            number,
            setting,
            spec,
            line,
            (commit if len(commit) == 40 else self._expanded(commit, line)) if is_git else None,
            None if is_git else str(body.get("changelist") or 1000 + number),
            triggered_by,
            now,
            self._timestamp(now),
            starts,
            starts + self.spec.run,
            outcome or "complete",
            request=request,
        )
        live = [old for old in self.builds if old.is_live(now) and old.has_place_of(build)]
        for old in live:
            old.superseded = now
        self.builds.append(build)
        self.by_id[build.id] = build
        return build, live

    def _expanded(self, commit: str, line: str) -> str:
        """Return the whole hash of an abbreviated one, or the newest commit of a branch."""
        head = self.head(line)
        if not commit or head.startswith(commit):
            return head
        return f"{commit:0<40}"

    def _timestamp(self, instant: float) -> str:
        at = datetime.fromtimestamp(instant + self.spec.skew, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _new_id(self, now: float, number: int) -> str:
        seconds = f"{int(now + self.spec.skew):08x}"
        if self.spec.sorted_ids:
            return f"{seconds}{number:016x}"
        return f"{seconds}{crc32(b'id %d' % number):08x}{number:08x}"

    # The answers.

    def answer(self, path: str, query: Sequence[tuple[str, str]], now: float, age: float) -> Any:
        """Return the JSON of a GET.

        :param age: seconds by which a list is stale.
        """
        match path.strip("/").split("/"):
            case ["builds"]:
                return self._page(dict(query), now - age, now)
            case ["builds", build_id]:
                build = self.by_id.get(build_id)
                if build is None or build.deleted <= now:
                    raise NotFound("no such build", status_code=404, code="not_found")
                return self._row(build, now, is_listed=False)
            case ["auth", "me"]:
                return {"user": {"id": OUR_USER.removeprefix("user:")}}
            case ["projects", project]:
                return {"id": project, "name": project, "sourceControl": project[:6]}
            case ["projects", project, "build-settings"]:
                found = [name for name, spec in self.settings.items() if spec.project == project]
                return {"items": [self._setting(name) for name in found], "nextCursor": None}
            case ["projects", _, "build-settings", setting]:
                return self._setting(setting.rstrip("x"))
        raise AssertionError(f"the simulated service has no {path}")

    def _setting(self, name: str) -> dict[str, Any]:
        """Return a setting; the same object as long as nobody edits it."""
        spec = self.settings[name]
        key = name, spec
        if key not in self._setting_rows:
            self._setting_rows[key] = self._new_setting(name, spec)
        return self._setting_rows[key]

    def _new_setting(self, name: str, spec: SettingSpec) -> dict[str, Any]:
        is_stream = spec.project == PERFORCE
        return {
            "id": setting_id(name),
            "platform": spec.platform,
            "buildType": spec.build_type,
            "branch": None if is_stream else spec.line,
            "streamPath": spec.line if is_stream else None,
        }

    def _row(self, build: SimBuild, at: float, *, is_listed: bool) -> dict[str, Any]:
        """Return a build; the same object as long as nothing of it changes."""
        key = build.id, build.status(at), is_listed
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._new_row(build, key[1])
            for name in self.spec.brief if is_listed else ():
                row.pop(name, None)
        return row

    def _new_row(self, build: SimBuild, status: str) -> dict[str, Any]:
        is_git = build.spec.project == GITHUB
        row = {
            "id": build.id,
            "status": status,
            "projectId": build.spec.project,
            "buildSettingId": setting_id(build.setting),
            "platform": build.spec.platform,
            "buildType": build.spec.build_type,
            "branch": self._reported_line(build),
            "commit": build.commit,
            "triggeredBy": build.triggered_by,
            "createdAt": build.created_at,
        }
        if not is_git:
            row["changelist"] = build.changelist
        if self.spec.late_commit and status == "pending":
            row["commit"] = row["changelist"] = None
        return row

    def hides_line(self, build: SimBuild) -> bool:
        """Return whether a build does not tell its stream."""
        return self.spec.null_stream and build.spec.project == PERFORCE

    def _reported_line(self, build: SimBuild) -> str | None:
        return None if self.hides_line(build) else build.line

    def _page(self, query: dict[str, str], at: float, now: float) -> dict[str, Any]:
        order = ORDERS[self.spec.order]
        found = sorted(
            (order(build, at), build.id)
            for build in self.builds
            if build.created <= at and build.deleted > now and self._matches(build, query, at)
        )
        cursor = query.get("cursor", "0")
        if cursor in self._cursors:
            place = self._cursors[cursor]
            start = next((n for n, (key, _) in enumerate(found) if key > place), len(found))
        else:
            start = int(cursor)
        end = start + min(int(query.get("limit", "25")), self.spec.page_size)
        rows = [self._row(self.by_id[id_], at, is_listed=True) for _, id_ in found[start:end]]
        next_cursor = (
            self._cursor(end - self.spec.repeats_rows, found) if end < len(found) else None
        )
        if self.spec.unreadable_rows:
            rows.insert(len(rows) // 2, {"id": f"unreadable{start}", "projectId": GITHUB})
            rows.append({"status": "running", "platform": "Win64"})
        return {"items": rows, "nextCursor": next_cursor}

    def _cursor(self, end: int, found: list[tuple[SortKey, str]]) -> str:
        """Return the cursor of the page that begins at a row."""
        if self.spec.offset_cursor:
            return str(end)
        cursor = f"after-{len(self._cursors)}"
        self._cursors[cursor] = found[end - 1][0]
        return cursor

    def _matches(self, build: SimBuild, query: dict[str, str], at: float) -> bool:
        for name, wanted in query.items():
            match name:
                case "status":
                    actual: str | None = build.status(at)
                case "projectId":
                    actual = build.spec.project
                case "buildSettingId":
                    actual = setting_id(build.setting)
                case "platform":
                    actual = build.spec.platform
                case "buildType":
                    actual = build.spec.build_type
                case "branch":
                    actual = self._reported_line(build)
                case _:
                    continue
            if actual != wanted:
                return False
        return True
