from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.core import calls
from airflow_provider_buildpixel.core.calls import MAX_PAGES, Call, Pager
from airflow_provider_buildpixel.core.model import Build, Page, Status
from airflow_provider_buildpixel.core.settings import Settings
from airflow_provider_buildpixel.core.wire import outgoing
from airflow_provider_buildpixel.exceptions import InvalidRequest, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = Settings("https://host/base", "bp_secret")


@pytest.mark.parametrize(
    ("call", "expected", "body"),
    [
        (calls.get_identity(), "GET /auth/me", None),
        (calls.update_organization("o", {"name": "x"}), "PATCH /organizations/o", {"name": "x"}),
        (calls.update_perforce("o", {}), "PATCH /organizations/o/perforce", {}),
        (calls.disconnect_github("o"), "DELETE /organizations/o/integrations/github", None),
        (calls.list_projects(), "GET /projects?limit=100", None),
        (calls.list_projects("github"), "GET /projects?sourceControl=github&limit=100", None),
        (calls.get_project("p"), "GET /projects/p", None),
        (calls.add_project("add-repo", {"name": "x"}), "POST /projects/add-repo", {"name": "x"}),
        (calls.update_project("p", {}), "PATCH /projects/p", {}),
        (calls.delete_project("p"), "DELETE /projects/p", None),
        (calls.list_build_settings("p"), "GET /projects/p/build-settings", None),
        (calls.get_build_setting("p", "s"), "GET /projects/p/build-settings/s", None),
        (calls.create_build_setting("p", {}), "POST /projects/p/build-settings", {}),
        (calls.update_build_setting("p", "s", {}), "PATCH /projects/p/build-settings/s", {}),
        (calls.delete_build_setting("p", "s"), "DELETE /projects/p/build-settings/s", None),
        (calls.trigger_build("p", "s"), "POST /projects/p/build-settings/s/trigger", {}),
        (
            calls.trigger_build("p", "s", branch="b", commit="", changelist=7),
            "POST /projects/p/build-settings/s/trigger",
            {"branch": "b", "changelist": 7},
        ),
        (calls.list_builds(status="running"), "GET /builds?status=running&limit=100", None),
        (calls.get_build("a/b ?"), "GET /builds/a%2Fb%20%3F", None),
        (calls.get_artifact("b"), "GET /builds/b/download", None),
    ],
    ids=lambda value: value.title if isinstance(value, Call) else "",
)
def test_an_endpoint(call: Call[Any], expected: str, body: dict[str, Any] | None) -> None:
    """Each endpoint is the documented request."""
    sent = outgoing(SETTINGS, call)
    assert f"{sent.method} {sent.url.removeprefix('https://host/base')}" == expected
    assert call.body == body
    assert (sent.body is None) == (body is None)
    assert call.repeatable == expected.startswith("GET")


def test_a_request_shows_no_token() -> None:
    """The token is in the header, and in nothing that is printed."""
    sent = outgoing(SETTINGS, calls.trigger_build("p", "s"))
    assert sent.headers["Authorization"] == "Bearer bp_secret"
    assert sent.headers["Content-Type"] == "application/json"
    assert "bp_secret" not in repr(sent) + repr(SETTINGS)


@pytest.mark.parametrize("build_id", ["", "  ", ".", "..", "a\nb", None])
def test_an_id_that_is_none(build_id: Any) -> None:
    """A template that rendered to nothing does not ask for something else altogether."""
    with pytest.raises(InvalidRequest, match="template"):
        calls.get_build(build_id)


@pytest.mark.parametrize(
    ("call", "data", "expected"),
    [
        (calls.delete_project("p"), {"odd": 1}, None),
        (calls.update_organization("o", {}), {"id": "o"}, {"id": "o"}),
        (calls.list_builds(), [{"id": "b", "status": "x"}], Page((Build("b", Status("x")),))),
        (calls.list_builds(), {"items": [], "nextCursor": "n"}, Page((), "n")),
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
            members += pager.turn(Page((number,), cursor))
        return members

    return turned


LIST: Call[Page[int]] = Call("GET", "/list", lambda _: Page(()), query=(("limit", "1"),))


def test_a_pager_ends() -> None:
    """Each page is asked for with the cursor of the one before, until there is none."""
    pager = Pager(LIST)
    assert pages("a", "b")(pager) == [0, 1]
    assert pager.call is not None
    assert pager.call.query == (("limit", "1"), ("cursor", "b"))
    assert pager.turn(Page((2,))) == (2,)
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
