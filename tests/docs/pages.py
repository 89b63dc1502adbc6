"""Finds the code blocks of the documentation, and how each of them has to be tested.

The language of a block decides how it is tested. A comment directly before the block,
``<!-- test: how; why -->``, overrides this. tests/docs/test_blocks.py interprets the words.
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
_COMMENT = re.compile(r"<!--\s*test:\s*(?P<how>[^;]*?)\s*(?:;\s*(?P<why>.*?)\s*)?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    :param line: the line of its fence, from 1.
    :param how: how its comment says to test it; empty without a comment.
    :param why: the reason in the comment.
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
    """Parse a page; a MyST directive becomes a fence whose language is its name in braces."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def blocks() -> Iterator[Block]:
    """Yield every code block, indented ones too."""
    for page in pages():
        before: Token | None = None
        for token in tokens(page):
            if token.type in {"fence", "code_block"}:
                yield _block(str(page.relative_to(ROOT)), token, before)
            before = token


def _block(page: str, token: Token, before: Token | None) -> Block:
    comment = before.content if before is not None and before.type == "html_block" else ""
    match = _COMMENT.search(comment)
    line = token.map[0] + 1 if token.map else 0
    words = token.info.split()
    how, why = (match["how"], match["why"] or "") if match else ("", "")
    return Block(page, line, words[0] if words else "", token.content, how, why)


def code_spans(page: Path) -> list[str]:
    """Return the inline code of a page."""
    inline = (token for token in tokens(page) if token.type == "inline")
    children = (child for token in inline for child in token.children or [])
    return [child.content for child in children if child.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Return the targets of the links and pictures of a page."""
    inline = (token for token in tokens(page) if token.type == "inline")
    children = [child for token in inline for child in token.children or []]
    found = [child.attrGet("href") or child.attrGet("src") for child in children]
    return [str(target) for target in found if target]
