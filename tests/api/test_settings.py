from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.settings import Settings
from airflow_provider_buildpixel.exceptions import InvalidRequest
from tests.strategies import EXAMPLES, JSON


@dataclass
class Connection:
    """The fields of an Airflow connection."""

    host: Any = None
    password: Any = "bp_secret"
    schema: Any = None
    port: Any = None
    extra_dejson: Any = field(default_factory=dict)
    conn_id: str = "buildpixel_default"


def parse(**fields: Any) -> Settings:
    """Return the settings of a connection with these fields."""
    return Settings.from_connection(Connection(**fields), "agent/1")


def parse_extra(**extras: Any) -> Settings:
    """Return the settings of a connection with these extras."""
    return parse(extra_dejson=extras)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "https://api.buildpixel.io"),
        ({"host": ""}, "https://api.buildpixel.io"),
        ({"host": "ci.example"}, "https://ci.example"),
        ({"host": "CI.Example"}, "https://ci.example"),
        ({"host": "https://ci.example/"}, "https://ci.example"),
        ({"host": "https://ci.example/base/"}, "https://ci.example/base"),
        ({"host": "ci.example", "port": 8443}, "https://ci.example:8443"),
        ({"host": "ci.example", "port": 443}, "https://ci.example"),
        ({"host": "https://ci.example:1", "port": 2}, "https://ci.example:1"),
        ({"host": "localhost", "schema": "http", "port": 80}, "http://localhost"),
        ({"host": "127.0.0.1", "schema": "http", "port": 8765}, "http://127.0.0.1:8765"),
        ({"host": "http://[::1]:8765"}, "http://[::1]:8765"),
        (
            {"host": "http://ci.example", "extra_dejson": {"allow_insecure_http": "true"}},
            "http://ci.example",
        ),
    ],
)
def test_base_url(fields: dict[str, Any], expected: str) -> None:
    """Host, port and schema make one base URL, whichever of them are filled in."""
    settings = parse(**fields)
    assert settings.base_url == expected
    assert expected.startswith(settings.origin)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"password": None}, "no password"),
        ({"password": "Bearer bp_x"}, "spaces"),
        ({"password": "bp_\u00e9"}, "unprintable"),
        ({"host": "http://ci.example"}, "in clear text"),
        ({"host": "ftp://ci.example"}, "not a web address"),
        ({"host": "https://"}, "not a web address"),
        ({"host": "https://me:pw@ci.example"}, "plain address"),
        ({"host": "https://ci.example?x=1"}, "plain address"),
        ({"host": "ci.example:port"}, "cannot be used"),
        ({"extra_dejson": {"channel": "pigeon"}}, "not one of auto"),
        ({"extra_dejson": {"request_timeout": "soon"}}, "must be seconds"),
        ({"extra_dejson": {"request_timeout": 0}}, "must be seconds"),
        ({"extra_dejson": {"request_timeout": 10**400}}, "must be seconds"),
        ({"extra_dejson": {"build_url": "javascript:x"}}, "must start with"),
        ({"extra_dejson": {"webhook_secret": "[broken"}}, "invalid JSON list"),
    ],
)
def test_invalid_connection(fields: dict[str, Any], message: str) -> None:
    """An invalid connection is rejected; the error has its id and not its token."""
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(**fields)
    assert "'buildpixel_default'" in str(caught.value)
    assert "bp_" not in str(caught.value).replace("(bp_…)", "")


@pytest.mark.parametrize(
    ("extras", "name", "expected"),
    [
        ({}, "request_timeout", 30.0),
        ({"request_timeout": ""}, "request_timeout", 30.0),
        ({"request_timeout": "2.5"}, "request_timeout", 2.5),
        ({}, "verify", True),
        ({"verify": ""}, "verify", True),
        ({"verify": "True"}, "verify", True),
        ({"verify": False}, "verify", False),
        ({"verify": "no"}, "verify", False),
        ({"verify": "/ca.pem"}, "verify", "/ca.pem"),
        ({"proxy": ""}, "proxy", None),
        ({"proxy": "http://proxy"}, "proxy", "http://proxy"),
        ({"channel": ""}, "channel", "auto"),
        ({"channel": "polling"}, "channel", "polling"),
        ({"webhook_secret": "a,b"}, "webhook_secrets", ("a,b",)),
        ({"webhook_secret": ["a", " b "]}, "webhook_secrets", ("a", "b")),
        ({"webhook_secret": '["a", "b"]'}, "webhook_secrets", ("a", "b")),
        ({"webhook_secret": 12345}, "webhook_secrets", ("12345",)),
        ({"webhook_secret": None}, "webhook_secrets", ()),
        ({"run_per_build": "a, b,"}, "run_per_build", ("a", "b")),
    ],
)
def test_extra(extras: dict[str, Any], name: str, expected: object) -> None:
    """An extra is parsed as forms, URIs and JSON provide it."""
    assert getattr(parse_extra(**extras), name) == expected


EXTRAS = st.sampled_from(
    (
        "request_timeout",
        "verify",
        "proxy",
        "channel",
        "webhook_secret",
        "run_per_build",
        "build_url",
    )
)


@EXAMPLES
@given(st.dictionaries(EXTRAS, JSON) | JSON)
def test_any_extra_is_parsed_or_rejected(extras: Any) -> None:
    """Any value of the extra returns settings or raises InvalidRequest."""
    with suppress(InvalidRequest):
        assert parse(extra_dejson=extras).user_agent == "agent/1"


def test_build_page_url() -> None:
    """The template makes the URL of a build's dashboard page; without it there is none."""
    settings = parse_extra(build_url="https://dash/{project_id}/{build_id}")
    assert settings.build_page_url("b/1", "p") == "https://dash/p/b%2F1"
    assert settings.build_page_url("b", None) == "https://dash//b"
    assert parse_extra().build_page_url("b", "p") is None


def test_repr_hides_secrets() -> None:
    """The repr omits token, webhook secrets and the proxy with its password."""
    settings = parse_extra(webhook_secret="hush", proxy="http://me:hush@proxy")
    assert "bp_secret" not in repr(settings)
    assert "hush" not in repr(settings)
