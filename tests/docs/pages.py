"""The code blocks of the documentation, each with what its page says about running it.

A block stands between fences. A comment right before it, ``<!-- test: what; why -->``, says how it
is run where that does not follow from its language; tests/docs/test_blocks.py knows the words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_MARK = re.compile(r"<!--\s*test:\s*(?P<how>[^;]*?)\s*(?:;\s*(?P<why>.*?)\s*)?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A piece of code on a page.

    :param line: of its fence, from 1.
    :param how: what its mark says, empty without one.
    :param why: the mark's reason.
    """

    page: str
    line: int
    language: str
    text: str
    how: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every page of the documentation, the README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def tokens(page: Path) -> list[Token]:
    """Parse a page; a MyST directive is a fence with a name in braces."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def blocks() -> Iterator[Block]:
    """Find every block of code, those by indentation too."""
    for page in pages():
        before: Token | None = None
        for token in tokens(page):
            if token.type in {"fence", "code_block"}:
                yield _block(str(page.relative_to(ROOT)), token, before)
            before = token


def _block(page: str, token: Token, before: Token | None) -> Block:
    comment = before.content if before is not None and before.type == "html_block" else ""
    mark = _MARK.search(comment)
    line = token.map[0] + 1 if token.map else 0
    words = token.info.split()
    how, why = (mark["how"], mark["why"] or "") if mark else ("", "")
    return Block(page, line, words[0] if words else "", token.content, how, why)


def code_spans(page: Path) -> list[str]:
    """Return what stands between backticks in the text of a page."""
    inline = (token for token in tokens(page) if token.type == "inline")
    children = (child for token in inline for child in token.children or [])
    return [child.content for child in children if child.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Return what the links and pictures of a page lead to."""
    inline = (token for token in tokens(page) if token.type == "inline")
    children = [child for token in inline for child in token.children or []]
    found = [child.attrGet("href") or child.attrGet("src") for child in children]
    return [str(target) for target in found if target]
