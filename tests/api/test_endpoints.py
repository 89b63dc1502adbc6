from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_buildpixel.api import endpoints
from airflow_provider_buildpixel.api.endpoints import Call, Page
from airflow_provider_buildpixel.api.http_messages import build_request
from airflow_provider_buildpixel.api.model import Build, Status
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
            {"branch": "b", "changelist": "7"},
        ),
        (endpoints.list_builds(status="running"), "GET /builds?status=running&limit=100", None),
        (endpoints.get_build("a/b ?"), "GET /builds/a%2Fb%20%3F", None),
        (endpoints.get_artifact("b"), "GET /builds/b/download", None),
    ],
    ids=lambda value: value.title if isinstance(value, Call) else "",
)
def test_endpoint_request(call: Call[Any], expected: str, body: dict[str, Any] | None) -> None:
    """Each endpoint makes the documented request."""
    request = build_request(SETTINGS, call)
    assert f"{request.method} {request.url.removeprefix('https://host/base')}" == expected
    assert call.body == body
    assert (request.body is None) == (body is None)
    assert call.repeatable == expected.startswith("GET")


def test_request_repr_hides_the_token() -> None:
    """The token is in the header, and not in any repr."""
    request = build_request(SETTINGS, endpoints.trigger_build("p", "s"))
    assert request.headers["Authorization"] == "Bearer bp_secret"
    assert request.headers["Content-Type"] == "application/json"
    assert "bp_secret" not in repr(request) + repr(SETTINGS)


@pytest.mark.parametrize("build_id", ["", "  ", ".", "..", "a\nb", None])
def test_empty_or_invalid_id(build_id: Any) -> None:
    """An empty or invalid id is rejected, instead of a request to another resource."""
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
def test_response_is_parsed(call: Call[Any], data: Any, expected: object) -> None:
    """A call parses its response; a list may be bare or a page."""
    assert call.parse(data) == expected


def read_pages(*cursors: str | None) -> Callable[[Pager[int]], list[int]]:
    """Return a function that reads pages with these cursors."""

    def read(pager: Pager[int]) -> list[int]:
        items: list[int] = []
        for number, cursor in enumerate(cursors):
            assert pager.call is not None
            items += pager.take_page(Page((number,), cursor))
        return items

    return read


LIST: Call[Page[int]] = Call("GET", "/list", lambda _: Page(()), query=(("limit", "1"),))


def test_pager_follows_cursors() -> None:
    """Each page is requested with the cursor of the page before, until there is none."""
    pager = Pager(LIST)
    assert read_pages("a", "b")(pager) == [0, 1]
    assert pager.call is not None
    assert pager.call.query == (("limit", "1"), ("cursor", "b"))
    assert pager.take_page(Page((2,))) == (2,)
    assert pager.call is None


@pytest.mark.parametrize("cursors", [("a", "a"), ("a", "b", "a")])
def test_pager_rejects_a_repeated_cursor(cursors: tuple[str, ...]) -> None:
    """A repeated cursor raises an error, however late it comes."""
    with pytest.raises(UnexpectedAnswer, match="does not end"):
        read_pages(*cursors)(Pager(LIST))


def test_pager_rejects_an_endless_list() -> None:
    """A list with ever new cursors raises an error at the page limit."""
    cursors = [str(number) for number in range(MAX_PAGES)]
    assert len(read_pages(*cursors[1:], None)(Pager(LIST))) == MAX_PAGES
    with pytest.raises(UnexpectedAnswer, match="does not end"):
        read_pages(*cursors)(Pager(LIST))
