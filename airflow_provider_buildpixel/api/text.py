"""Text from elsewhere, made safe to show: no escapes, no secrets, no endless lines."""

from __future__ import annotations

import re

LINE_LIMIT = 2_000
"""Characters of one log line that are shown; Airflow's triggerer loses very long ones."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_TOKENS = re.compile(r"bp_[A-Za-z0-9_\-.~+/=]{4,}")
_WORDS = re.compile(r"[^\s\"'<>]+")
_USERINFO = re.compile(r"://[^\s\"'<>/@]+@")


def plain(text: str, limit: int = LINE_LIMIT, more: int = 0) -> str:
    """Neutralise ANSI escapes, control and direction characters, and cut what is too long.

    :param more: how many characters were cut before.
    """
    kept = text[: limit * 4]  # an endless line is not searched to its end
    shown = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _ESCAPES.sub("", kept.rstrip("\r\n")))
    left_out = max(0, len(shown) - limit) + len(text) - len(kept) + more
    return f"{shown[:limit]}… ({left_out} more characters)" if left_out else shown


def redacted(text: str) -> str:
    """Hide what looks like a token, a password in a URL, or a query, where signatures are."""
    without_tokens = _USERINFO.sub("://***@", _TOKENS.sub("bp_***", text))
    return _WORDS.sub(_without_query, without_tokens)


def _without_query(word: re.Match[str]) -> str:
    """Cut a URL at its query; requests' errors name a URL by its path only."""
    address, _, query = word[0].partition("?")
    signed = query and ("://" in address or "=" in query)
    return f"{address}?***" if signed else word[0]


def shown(text: str, limit: int = 500) -> str:
    """Make a message from elsewhere fit for an error of ours."""
    return redacted(plain(text, limit))  # an escape inside a token must not keep it whole


FACT = 1_000
"""Characters of a fact that go into Airflow's database."""

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Give a text that every database takes: PostgreSQL knows neither NUL nor half a character."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text[:FACT])


KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def size_text(count: float) -> str:
    """Give a number of bytes with a unit that suits it."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"


def time_text(seconds: float) -> str:
    """Give a duration in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def duration_text(seconds: float) -> str:
    """Give a duration for people."""
    whole = round(seconds)
    if whole < 60:  # seconds in a minute
        return f"{seconds:.1f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
