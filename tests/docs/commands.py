"""Checks the shell commands of the documentation against the programs that they call."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_buildpixel.api.settings import Settings

# Options of providers that are not installed here.
UNINSTALLED_OPTIONS = {("celery_broker_transport_options", "visibility_timeout")}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_ASSIGNMENT = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)", re.DOTALL)
_OPTION = re.compile(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)")


BASH = shutil.which("bash") or "/bin/bash"


def run(script: str) -> str:
    """Run a script and return its output; fail if any of its commands fails."""
    done = subprocess.run(
        [BASH, "-euo", "pipefail"], input=script, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_syntax(script: str) -> None:
    """Check the syntax of a script without running it."""
    done = subprocess.run([BASH, "-n"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def commands(script: str) -> list[list[str]]:
    """Split a script into commands, and each command into words, without comments."""
    joined = script.replace("\\\n", " ")
    lines = (shlex.split(line, comments=True) for line in joined.splitlines())
    return [words for words in lines if words]


def check(words: list[str]) -> None:
    """Check a command against the parser of its program; fail for an unknown program."""
    rest = list(words)
    while rest and (assigned := _ASSIGNMENT.fullmatch(rest[0])):
        _check_variable(assigned["name"], assigned["value"])
        rest.pop(0)
    if not rest:
        return
    checker = CHECKERS.get(rest[0])
    assert checker is not None, f"no checker for {rest[0]!r}: add one, or mark the block"
    checker(rest[1:])


def check_published(words: list[str]) -> None:
    """Check that an installation by name uses the name and the extras of this distribution."""
    assert words[:2] == ["pip", "install"], words
    names = [word for word in words[2:] if not word.startswith("-")]
    for name in names:
        base, _, extras = name.partition("[")
        assert base == PROJECT["name"]
        for extra in filter(None, extras.rstrip("]").split(",")):
            assert extra in PROJECT["optional-dependencies"]


def is_airflow_option(section: str, option: str) -> bool:
    """Whether this Airflow, with its providers, has the option."""
    from airflow.configuration import conf

    if (section, option) in UNINSTALLED_OPTIONS:
        return True
    sections = conf.configuration_description
    return option in sections.get(section, {"options": {}})["options"]


def check_connection(value: str) -> None:
    """Parse a connection as Airflow does from the environment, and then as the hooks do."""
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.connection_form import FIELDS

    connection = Connection.from_json(value, conn_id="documented")
    assert connection.conn_type == "buildpixel"
    assert set(connection.extra_dejson) <= set(FIELDS)
    Settings.from_connection(connection, "docs")


def parse_connection_uri(uri: str) -> Settings:
    """Parse a connection URI as Airflow does from the environment."""
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_buildpixel.api.settings import Settings

    return Settings.from_connection(Connection.from_uri(uri, conn_id="documented"), "docs")


def _check_variable(name: str, value: str) -> None:
    if name.startswith("AIRFLOW_CONN_"):
        if value != "…":  # the reader replaces it
            check_connection(value)
    elif option := _OPTION.fullmatch(name):
        assert is_airflow_option(option[1].lower(), option[2].lower()), name
    else:
        assert name == "AIRFLOW_HOME", name


def _export(words: list[str]) -> None:
    for word in words:
        assigned = _ASSIGNMENT.fullmatch(word)
        assert assigned is not None, word
        _check_variable(assigned["name"], assigned["value"])


def _make(words: list[str]) -> None:
    for word in words:
        assert word in TARGETS or "=" in word, word


def _airflow(words: list[str]) -> None:
    from airflow.cli import cli_parser

    cli_parser.get_parser().parse_args(words)


def _sandbox(words: list[str]) -> None:
    from airflow_provider_buildpixel.sandbox import __main__ as command_line

    command_line._parser().parse_args(words)  # what main() does first


CHECKERS: dict[str, Callable[[list[str]], None]] = {
    "airflow": _airflow,
    "buildpixel-sandbox": _sandbox,
    "export": _export,
    "make": _make,
}
