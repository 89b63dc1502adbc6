from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_buildpixel.api.text import redact, safe_text, sanitize
from tests.strategies import EXAMPLES

DIRECTION_CHARACTERS = (
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"
)
HOSTILE_TEXT = st.text(
    alphabet=st.one_of(
        st.characters(), st.sampled_from("\x1b[]0;m\x07\\?=&:/ \t\r\n" + DIRECTION_CHARACTERS)
    ),
    max_size=80,
)
TOKENS = st.from_regex(r"bp_[A-Za-z0-9_\-]{4,40}", fullmatch=True)


@EXAMPLES
@given(HOSTILE_TEXT, st.integers(1, 50))
def test_sanitized_text_has_no_control_characters(text: str, limit: int) -> None:
    """Sanitized text moves no cursor, breaks no line and changes no text direction."""
    clean = sanitize(text, limit)
    assert {char for char in clean if unicodedata.category(char) in {"Cc", "Cs"}} <= {"\t"}
    assert not set(clean) & set(DIRECTION_CHARACTERS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\tb\r\n", "a\tb", id="tab-stays-line-end-goes"),
        pytest.param("\x1b[31mred\x1b[0m", "red", id="colour"),
        pytest.param("\x1b]0;title\x07text", "text", id="window-title"),
        pytest.param("\x1b\x1b[0m[31m", "\ufffd[31m", id="nested-escape"),
        pytest.param("a\nb", "a\ufffdb", id="line-break-inside"),
        pytest.param("x" * 10, "x" * 10, id="just-fits"),
        pytest.param("x" * 14, "x" * 10 + "… (4 more characters)", id="cut"),
        pytest.param("x" * 99, "x" * 10 + "… (89 more characters)", id="endless"),
        pytest.param("\x1b[0m" * 10 + "xy", "… (2 more characters)", id="cut-behind-escapes"),
    ],
)
def test_sanitize(text: str, expected: str) -> None:
    """Escapes are removed, other controls are replaced, and cut characters are counted."""
    assert sanitize(text, 10) == expected


@EXAMPLES
@given(HOSTILE_TEXT, TOKENS, HOSTILE_TEXT)
def test_tokens_are_redacted(before: str, token: str, after: str) -> None:
    """A token is masked wherever it is in the text."""
    assert token not in redact(before + token + after)
    assert token not in safe_text(before + token + after)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Bearer bp_secret1", "Bearer bp_***", id="header"),
        pytest.param("token%3Dbp_secret1&x", "token%3Dbp_***&x", id="after-an-escape"),
        pytest.param("bp_abc==", "bp_***", id="base64"),
        pytest.param("https://cdn/x?sig=abc end", "https://cdn/x?*** end", id="signed-url"),
        pytest.param("HTTPS://CDN/x?sig=abc", "HTTPS://CDN/x?***", id="capitals"),
        pytest.param(
            "with url: /x.tar.gz?sig=abc (why)", "with url: /x.tar.gz?*** (why)", id="path"
        ),
        pytest.param("https://me:pw@git/x.git", "https://***@git/x.git", id="password-in-url"),
        pytest.param("really? yes", "really? yes", id="a-question"),
        pytest.param("https://docs/x?", "https://docs/x?", id="empty-query"),
        pytest.param("f(a)?b:c", "f(a)?b:c", id="no-query"),
    ],
)
def test_redact(text: str, expected: str) -> None:
    """Tokens, passwords in URLs and queries are masked, and nothing else is."""
    assert redact(text) == expected


def test_token_split_by_an_escape() -> None:
    """A token that an escape sequence splits is masked."""
    assert safe_text("bp_ab\x1b[0mcdefgh") == "bp_***"
