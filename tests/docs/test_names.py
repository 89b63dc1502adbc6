"""The documentation uses names, links and messages that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, TypeGuard

import pytest

from airflow_provider_buildpixel.connection_form import FIELDS
from tests.docs.commands import is_airflow_option
from tests.docs.pages import ROOT, code_spans, links, pages, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "airflow_provider_buildpixel"
BASES = (ROOT, ROOT / PACKAGE)
PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
PACKAGE_NAME = re.compile(
    rf"(?:{PACKAGE}\.)?((?:operators|sensors|triggers|hooks|assets|retries|exceptions)\.[\w.]+)"
)


@PAGES
def test_options_of_airflow(page: Path) -> None:
    """Each ``[section] option`` and ``AIRFLOW__SECTION__OPTION`` exists in Airflow."""
    found = (re.fullmatch(r"\[([a-z_]+)\] ([a-z_]+)", span) for span in code_spans(page))
    named = [(option[1], option[2]) for option in found if option]
    variables = re.findall(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)", page.read_text())
    named += [(section.lower(), option.lower()) for section, option in variables]
    assert [pair for pair in named if not is_airflow_option(*pair)] == []


@PAGES
def test_names_of_the_package(page: Path) -> None:
    """Each module, class and function that a page names by its path can be imported."""
    for span in code_spans(page):
        if span.endswith(".py"):
            continue
        if found := PACKAGE_NAME.fullmatch(span):
            _resolve(found[1])


def _resolve(path: str) -> None:
    module, _, name = path.rpartition(".")
    try:
        import_module(f"{PACKAGE}.{path}")
    except ModuleNotFoundError:
        assert hasattr(import_module(f"{PACKAGE}.{module}"), name), path


@pytest.mark.parametrize("page", ["architecture", "behaviours", "deprecations", "threat-model"])
def test_paths_of_python_files(page: str) -> None:
    """Each Python file that a page names with its folder exists, in repository or package."""
    spans = code_spans(ROOT / "docs" / f"{page}.md")
    named = [span for span in spans if re.fullmatch(r"\w+(/\w+)+\.py", span)]
    missing = [name for name in named if not any((base / name).is_file() for base in BASES)]
    assert missing == []


@PAGES
def test_links_within_the_repository(page: Path) -> None:
    """A relative link leads to a file and, after a #, to one of its headings."""
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists() or file.parent == ROOT / "docs" / "pictures", target
        assert not anchor or anchor in _anchors(file), target


@cache
def _anchors(page: Path) -> set[str]:
    found = tokens(page)
    titles = [text.content for head, text in pairwise(found) if head.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/connect.md"])
def test_extras_of_the_connection(page: str) -> None:
    """The table of the connection's extras lists exactly the existing ones."""
    rows = re.findall(r"^\| extra `(\w+)` \|", (ROOT / page).read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(FIELDS)


def test_messages() -> None:
    """The messages on the troubleshooting page exist in the source; ``…`` matches any text."""
    texts = [text for file in (ROOT / PACKAGE).rglob("*.py") for text in _texts(file)]
    missing = [quote for quote in _quotes() if not any(_matches(text, quote) for text in texts)]
    assert missing == []


def _quotes() -> Iterator[str]:
    """Yield the first column of each table, up to the messages of Airflow."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text().partition("## Messages of Airflow")[0]
    for row in re.findall(r"^\| (`.+?`) \| ", text, re.MULTILINE):
        yield row.strip("`")


def _matches(text: str, quote: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in quote.strip("…").split("…"))
    return re.search(pattern, text, re.DOTALL) is not None


@cache
def _texts(file: Path) -> list[str]:
    """Return the texts of a module, with ``…`` for each formatted value."""
    tree = ast.parse(file.read_text())
    documented = {
        ast.get_docstring(one, clean=False) for one in ast.walk(tree) if _has_docstring(one)
    }
    found = [_text(node) for node in ast.walk(tree)]
    return [text for text in found if text and text not in documented]


def _has_docstring(node: ast.AST) -> TypeGuard[ast.Module | ast.ClassDef | ast.FunctionDef]:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sd]|%\.0f", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    return ""
