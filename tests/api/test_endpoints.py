from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.api.endpoints import Call
from airflow_provider_buildpixel.api.http_messages import build_request
from airflow_provider_buildpixel.api.model import Build, Page, Status
from airflow_provider_buildpixel.api.paging import MAX_PAGES, Pager
from airflow_provider_buildpixel.api.settings import Settings
from airflow_provider_buildpixel.exceptions import InvalidRequest, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = Settings("https://host/base", "bp_secret")


@pytest.mark.parametrize(
    ("call", "expected", "body"),
    [
        (endpoints.get_identity(), "GET /auth/me", None),
        (
            endpoints.update_organization("o", {"name": "x"}),
            "PATCH /organizations/o",
            {"name": "x"},
        ),
        (endpoints.update_perforce("o", {}), "PATCH /organizations/o/perforce", {}),
        (endpoints.disconnect_github("o"), "DELETE /organizations/o/integrations/github", None),
        (endpoints.list_projects(), "GET /projects?limit=100", None),
        (endpoints.list_projects("github"), "GET /projects?sourceControl=github&limit=100", None),
        (endpoints.get_project("p"), "GET /projects/p", None),
        (
            endpoints.add_project("add-repo", {"name": "x"}),
            "POST /projects/add-repo",
            {"name": "x"},
        ),
        (endpoints.update_project("p", {}), "PATCH /projects/p", {}),
        (endpoints.delete_project("p"), "DELETE /projects/p", None),
        (endpoints.list_build_settings("p"), "GET /projects/p/build-settings", None),
        (endpoints.get_build_setting("p", "s"), "GET /projects/p/build-settings/s", None),
        (endpoints.create_build_setting("p", {}), "POST /projects/p/build-settings", {}),
        (endpoints.update_build_setting("p", "s", {}), "PATCH /projects/p/build-settings/s", {}),
        (endpoints.delete_build_setting("p", "s"), "DELETE /projects/p/build-settings/s", None),
        (endpoints.trigger_build("p", "s"), "POST /projects/p/build-settings/s/trigger", {}),
        (
            endpoints.trigger_build("p", "s", branch="b", commit="", changelist=7),
            "POST /projects/p/build-settings/s/trigger",
            {"branch": "b", "changelist": 7},
        ),
        (endpoints.list_builds(status="running"), "GET /builds?status=running&limit=100", None),
        (endpoints.get_build("a/b ?"), "GET /builds/a%2Fb%20%3F", None),
        (endpoints.get_artifact("b"), "GET /builds/b/download", None),
    ],
    ids=lambda value: value.title if isinstance(value, Call) else "",
)
def test_an_endpoint(call: Call[Any], expected: str, body: dict[str, Any] | None) -> None:
    """Each endpoint is the documented request."""
    sent = build_request(SETTINGS, call)
    assert f"{sent.method} {sent.url.removeprefix('https://host/base')}" == expected
    assert call.body == body
    assert (sent.body is None) == (body is None)
    assert call.repeatable == expected.startswith("GET")


def test_a_request_shows_no_token() -> None:
    """The token is in the header, and in nothing that is printed."""
    sent = build_request(SETTINGS, endpoints.trigger_build("p", "s"))
    assert sent.headers["Authorization"] == "Bearer bp_secret"
    assert sent.headers["Content-Type"] == "application/json"
    assert "bp_secret" not in repr(sent) + repr(SETTINGS)


@pytest.mark.parametrize("build_id", ["", "  ", ".", "..", "a\nb", None])
def test_an_id_that_is_none(build_id: Any) -> None:
    """A template that rendered to nothing does not ask for something else altogether."""
    with pytest.raises(InvalidRequest, match="template"):
        endpoints.get_build(build_id)


@pytest.mark.parametrize(
    ("call", "data", "expected"),
    [
        (endpoints.delete_project("p"), {"odd": 1}, None),
        (endpoints.update_organization("o", {}), {"id": "o"}, {"id": "o"}),
        (endpoints.list_builds(), [{"id": "b", "status": "x"}], Page((Build("b", Status("x")),))),
        (endpoints.list_builds(), {"items": [], "nextCursor": "n"}, Page((), "n")),
    ],
)
def test_an_answer(call: Call[Any], data: Any, expected: object) -> None:
    """A call reads its own answer; a list may be bare or a page."""
    assert call.parse(data) == expected


def pages(*cursors: str | None) -> Callable[[Pager[int]], list[int]]:
    """Turn pages with these cursors."""

    def turned(pager: Pager[int]) -> list[int]:
        members: list[int] = []
        for number, cursor in enumerate(cursors):
            assert pager.call is not None
            members += pager.take_page(Page((number,), cursor))
        return members

    return turned


LIST: Call[Page[int]] = Call("GET", "/list", lambda _: Page(()), query=(("limit", "1"),))


def test_a_pager_ends() -> None:
    """Each page is asked for with the cursor of the one before, until there is none."""
    pager = Pager(LIST)
    assert pages("a", "b")(pager) == [0, 1]
    assert pager.call is not None
    assert pager.call.query == (("limit", "1"), ("cursor", "b"))
    assert pager.take_page(Page((2,))) == (2,)
    assert pager.call is None


@pytest.mark.parametrize("cursors", [("a", "a"), ("a", "b", "a")])
def test_a_pager_refuses_to_go_in_circles(cursors: tuple[str, ...]) -> None:
    """A cursor that repeats is refused, however late."""
    with pytest.raises(UnexpectedAnswer, match="does not end"):
        pages(*cursors)(Pager(LIST))


def test_a_pager_refuses_a_list_without_end() -> None:
    """A list of ever new cursors is refused at some time."""
    with pytest.raises(UnexpectedAnswer, match="does not end"):
        pages(*map(str, range(MAX_PAGES + 1)))(Pager(LIST))
