"""HTML pages without scripts: a list of builds, and one build."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.world.payloads import build_without_log

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.world.model import StoredBuild
    from airflow_provider_buildpixel.sandbox.world.world import World

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}"
    "td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}"
    "pre{background:#16181d;color:#dde;padding:1rem;overflow:auto}"
    ".error{color:#f77}.warn{color:#fc6}"
)
_MAX_BUILDS = 100


class Dashboard:
    """The pages of the builds of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the pages."""
        return [web.get("/dashboard", self._index), web.get("/dashboard/builds/{id}", self._build)]

    async def _index(self, _: web.Request) -> web.Response:
        with self._world.lock:
            self._world.now()
            newest = self._world.build_ids[: -_MAX_BUILDS - 1 : -1]
            rows = "".join(_row(self._world.builds[build_id]) for build_id in newest)
        return _page("Builds", f"<table>{rows}</table>", live=True)

    async def _build(self, request: web.Request) -> web.Response:
        with self._world.lock:
            at = self._world.now()
            build = self._world.builds.get(request.match_info["id"])
            if build is None:
                return _page("No such build", "", live=False, status=404)
            fields = build_without_log(Variants(), build, at)
            title = f"{build.project.name} {fields['platform']} {fields['buildType']}"
            return _page(title, _field_table(fields) + _log(build), live=build.is_live)


def _row(build: StoredBuild) -> str:
    cells = (build.project.name, build.setting["platform"], build.setting["buildType"])
    link = f'<a href="/dashboard/builds/{escape(build.id)}">{escape(build.id)}</a>'
    text = "".join(f"<td>{escape(cell)}</td>" for cell in (*cells, build.status))
    return f"<tr><td>{link}</td>{text}</tr>"


def _field_table(fields: dict[str, object]) -> str:
    rows = (
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in fields.items()
        if value is not None
    )
    return f"<table>{''.join(rows)}</table>"


def _log(build: StoredBuild) -> str:
    lines = (
        f'<span class="{escape(line.level)}">{escape(line.message)}</span>' for line in build.logs
    )
    return "<pre>" + "\n".join(lines) + "</pre>"


def _page(title: str, body: str, *, live: bool, status: int = 200) -> web.Response:
    refresh = '<meta http-equiv="refresh" content="3">' if live else ""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, text=text, content_type="text/html", headers=headers)
