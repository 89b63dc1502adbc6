"""Runs or checks every code block of the documentation."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_buildpixel.asset_events import webhook
from airflow_provider_buildpixel.exceptions import BuildFailed
from tests.docs import commands
from tests.docs.listener import recording_server
from tests.docs.pages import ROOT, blocks
from tests.docs.stories import STORIES, run_dags

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox import Sandbox
    from tests.docs.pages import Block

SHELLS = {"console", "sh", "shell", "bash"}
SHELL_KINDS = {"": "shell", "with a connection": "connection"}
SHELL_KINDS |= {how: how for how in ("run", "published", "signed", "no")}
DATA = {"json", "toml", "ini"}
DIRECTIVES = {"{toctree}", "{include}", "{eval-rst}"}
ALL = list(blocks())


def _kind(block: Block) -> str:
    """Return how to test a block; empty if its language or its comment is unknown."""
    if block.how.startswith("file ") or (block.language == "python" and "def test_" in block.text):
        return "pytest"
    if block.language == "python":
        return _python_kind(block)
    if block.language in SHELLS:
        return SHELL_KINDS.get(block.how, "")
    if block.language == "text":
        return "output" if block.how == "output of a failed build" else ""
    if block.language in DIRECTIVES:
        return "directive"
    return block.language if block.language in DATA and not block.how else ""


def _python_kind(block: Block) -> str:
    if block.how == "parse":
        return "parse" if block.why else ""
    if block.how not in STORIES:
        return ""
    return "dag" if re.search(r"^@dag\b", block.text, re.MULTILINE) else "script"


def _blocks_of(*kinds: str) -> pytest.MarkDecorator:
    found = [block for block in ALL if _kind(block) in kinds]
    return pytest.mark.parametrize("block", found, ids=str)


def test_every_block_is_tested() -> None:
    """No block has an unknown language or an unknown comment."""
    assert [str(block) for block in ALL if not _kind(block)] == []
    assert {_kind(block) for block in ALL} >= {"dag", "script", "pytest", "shell", "run", "ini"}


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("default")  # Airflow runs an API server for this, and warns
@_blocks_of("dag")
def test_dag(block: Block, sandbox: Sandbox, airflow_database: Path, tmp_path: Path) -> None:
    """A Dag loads without errors, and its run on the sandbox succeeds."""
    with STORIES[block.how](sandbox):
        assert run_dags(block.text, tmp_path) == ["success"]


@_blocks_of("parse")
def test_dag_that_is_only_loaded(block: Block, sandbox: Sandbox, tmp_path: Path) -> None:
    """A Dag that needs an external service loads without errors."""
    run_dags(block.text, tmp_path, only_load=True)


@_blocks_of("script")
def test_script(
    block: Block, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python code that is not a Dag runs without errors."""
    with STORIES[block.how](sandbox) as facts:
        text = block.text.replace("/tmp/", f"{tmp_path}/")  # noqa: S108  # redirects the files
        exec(compile(text, str(block), "exec"), {"__name__": "__main__", **facts})  # noqa: S102


@pytest.mark.timeout(300)
def test_test_files(tmp_path: Path) -> None:
    """The tests on the pages pass, in a separate pytest with its own Airflow home."""
    for number, block in enumerate(block for block in ALL if _kind(block) == "pytest"):
        name = block.how.removeprefix("file ") if block.how else f"test_{number}.py"
        file = tmp_path / Path(block.page).stem / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=env | {"AIRFLOW_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "3 passed" in done.stdout


@_blocks_of("shell")
def test_commands(block: Block) -> None:
    """Shell commands have valid syntax, and their programs accept the arguments."""
    commands.check_syntax(block.text)
    for words in commands.commands(block.text):
        commands.check(words)


@_blocks_of("run")
def test_commands_that_are_run(block: Block, sandbox: Sandbox) -> None:
    """Commands run without errors, with the sandbox in place of the page's URL."""
    script = block.text.replace("http://127.0.0.1:8765", sandbox.url)
    script = script.replace("curl ", "curl --fail --silent --show-error ")
    commands.run(script)


@_blocks_of("published")
def test_installation_by_name(block: Block) -> None:
    """An installation by name uses the distribution's name and extras."""
    for words in commands.commands(block.text):
        commands.check_published(words)


@_blocks_of("connection")
def test_exported_connection(block: Block, sandbox: Sandbox) -> None:
    """The exported connection is the sandbox's, with the extras that the page describes."""
    script = f'{block.text}printf %s "$AIRFLOW_CONN_BUILDPIXEL_DEFAULT"'
    uri = commands.run(script)
    settings = commands.parse_connection_uri(uri)
    assert (settings.base_url, settings.token) == (sandbox.url, sandbox.token)
    assert (settings.webhook_secrets, settings.run_per_build) == (
        ("only-for-trying",),
        ("smoke_test",),
    )


@_blocks_of("signed")
def test_delivery_by_hand(block: Block) -> None:
    """A delivery that a shell signs and sends has a valid signature."""
    with recording_server() as (url, received):
        script = block.text.replace("https://airflow.example.com", url).replace("='…'", "='s3cret'")
        script = script.replace("<build id>", "01m89jv34g000001nhyyx1qp")
        commands.run(script)
    body, signature = received[0]
    assert webhook.verify_signature(body, signature, ("s3cret",))
    assert not webhook.verify_signature(body, signature, ("another",))
    assert webhook.Delivery.from_body(body).reports_end


@_blocks_of("no")
def test_commands_that_are_run_elsewhere(block: Block) -> None:
    """Commands that another test runs have valid syntax, and the page gives the reason."""
    commands.check_syntax(block.text)
    assert len(block.why.split()) > 3


@_blocks_of("output")
def test_output(block: Block, sandbox: Sandbox) -> None:
    """The output on a page is the error message of a failed build."""
    from tests.tasks.stage import TaskInstance, context_of, operator_factory, run_task

    sandbox.plan(outcome="failed", failure="compile", queue=0.1, run=0.2)
    with pytest.raises(BuildFailed) as raised:
        run_task(operator_factory("deferrable"), context_of(TaskInstance()))
    message = f"BuildFailed: {raised.value}".replace(sandbox.url, "http://127.0.0.1:8765")
    expected = ".*".join(re.escape(part) for part in block.text.strip().split("…"))
    assert re.fullmatch(expected, message), message


@_blocks_of("json", "toml", "ini")
def test_data(block: Block) -> None:
    """Data parses, a connection is valid, and Airflow has each option."""
    if block.language == "json":
        data = json.loads(block.text)
        if "conn_type" in data:
            commands.check_connection(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    else:
        parser = configparser.ConfigParser()
        parser.read_string(block.text)
        for section in parser.sections():
            for option in parser.options(section):
                assert commands.is_airflow_option(section, option), f"[{section}] {option}"


def test_makefile_has_the_targets_of_the_readme() -> None:
    """The make targets that the README names exist."""
    assert {"demo", "test", "docs"} <= commands.TARGETS
    assert (ROOT / "README.md").read_text().count("make demo") >= 2
