"""Makes text from servers, logs and users safe to show: no escapes, no secrets, bounded length."""

from __future__ import annotations

import re

LINE_LIMIT = 2_000
"""Characters of a log line that are shown; Airflow's triggerer loses very long lines."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_TOKENS = re.compile(r"bp_[A-Za-z0-9_\-.~+/=]{4,}")
_WORDS = re.compile(r"[^\s\"'<>]+")
_USERINFO = re.compile(r"://[^\s\"'<>/@]+@")


def sanitize(text: str, limit: int = LINE_LIMIT, more: int = 0) -> str:
    """Return the text without ANSI escapes, control and direction characters, cut at the limit.

    :param limit: characters to keep.
    :param more: characters that were already cut off; they are added to the count shown.
    """
    kept = text[: limit * 4]  # bounds the search in an endless line
    clean = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _ESCAPES.sub("", kept.rstrip("\r\n")))
    left_out = max(0, len(clean) - limit) + len(text) - len(kept) + more
    return f"{clean[:limit]}… ({left_out} more characters)" if left_out else clean


def redact(text: str) -> str:
    """Return the text with tokens, passwords in URLs, and query strings (signatures) masked."""
    without_tokens = _USERINFO.sub("://***@", _TOKENS.sub("bp_***", text))
    return _WORDS.sub(_mask_query, without_tokens)


def _mask_query(word: re.Match[str]) -> str:
    """Return a URL with its query masked; errors of requests name a URL by its path only."""
    address, _, query = word[0].partition("?")
    has_parameters = query and ("://" in address or "=" in query)
    return f"{address}?***" if has_parameters else word[0]


def safe_text(text: str, limit: int = 500) -> str:
    """Return text from a server that is safe to quote in an error message."""
    return redact(sanitize(text, limit))  # sanitize first: an escape may split a token


MAX_FACT = 1_000
"""Characters of one fact about a build that are stored in Airflow's database."""

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Return text that every database accepts: PostgreSQL rejects NUL and lone surrogates."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text[:MAX_FACT])


KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def size_text(size: float) -> str:
    """Return a size in the largest fitting unit, such as ``1.5 GiB``.

    :param size: in bytes.
    """
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} B"


def duration_text(seconds: float, decimals: int = 1) -> str:
    """Return a duration in its two largest units, such as ``59.4 s`` or ``1 h 1 min``.

    :param decimals: of the seconds in a duration below one minute.
    """
    whole = round(seconds)
    if whole < 60:  # one minute
        return f"{seconds:.{decimals}f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
