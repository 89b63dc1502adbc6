"""Every block of code in the documentation is run, or held against what it speaks of."""

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
from tests.docs.listener import listener
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
    """Sort a block by what has to be done with it; empty if nobody knows."""
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


def _of(*kinds: str) -> pytest.MarkDecorator:
    found = [block for block in ALL if _kind(block) in kinds]
    return pytest.mark.parametrize("block", found, ids=str)


def test_every_block_is_accounted_for() -> None:
    """No block is of an unknown language, or has a mark that means nothing."""
    assert [str(block) for block in ALL if not _kind(block)] == []
    assert {_kind(block) for block in ALL} >= {"dag", "script", "pytest", "shell", "run", "ini"}


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("default")  # Airflow runs a whole API server for this, and warns
@_of("dag")
def test_dag(block: Block, sandbox: Sandbox, airflow_database: Path, tmp_path: Path) -> None:
    """A Dag loads without an error, and its run on the sandbox succeeds."""
    with STORIES[block.how](sandbox):
        assert run_dags(block.text, tmp_path) == ["success"]


@_of("parse")
def test_dag_that_is_only_loaded(block: Block, sandbox: Sandbox, tmp_path: Path) -> None:
    """A Dag that waits for something from outside loads without an error."""
    run_dags(block.text, tmp_path, only_load=True)


@_of("script")
def test_script(
    block: Block, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that is no Dag runs to its end."""
    with STORIES[block.how](sandbox) as facts:
        text = block.text.replace("/tmp/", f"{tmp_path}/")  # it is taken out
        exec(compile(text, str(block), "exec"), {"__name__": "__main__", **facts})


@pytest.mark.timeout(300)
def test_tests(tmp_path: Path) -> None:
    """Tests that the pages show pass, in a pytest and an Airflow home of their own."""
    for number, block in enumerate(block for block in ALL if _kind(block) == "pytest"):
        name = block.how.removeprefix("file ") if block.how else f"test_{number}.py"
        place = tmp_path / Path(block.page).stem / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(block.text)
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


@_of("shell")
def test_commands(block: Block) -> None:
    """A shell can read it, and what it calls knows these commands and options."""
    commands.check_syntax(block.text)
    for words in commands.commands(block.text):
        commands.check(words)


@_of("run")
def test_commands_that_are_run(block: Block, sandbox: Sandbox) -> None:
    """A shell runs it to its end, with the sandbox where the page has it."""
    script = block.text.replace("http://127.0.0.1:8765", sandbox.url)
    script = script.replace("curl ", "curl --fail --silent --show-error ")
    commands.run(script)


@_of("published")
def test_commands_that_need_the_index(block: Block) -> None:
    """What is installed by name has the distribution's name and extras."""
    for words in commands.commands(block.text):
        commands.check_published(words)


@_of("connection")
def test_connection_that_a_shell_makes(block: Block, sandbox: Sandbox) -> None:
    """What a shell makes of the sandbox's connection has the extras of the page's text."""
    script = f'{block.text}printf %s "$AIRFLOW_CONN_BUILDPIXEL_DEFAULT"'
    uri = commands.run(script)
    settings = commands.settings_of_uri(uri)
    assert (settings.base_url, settings.token) == (sandbox.url, sandbox.token)
    assert (settings.webhook_secrets, settings.run_per_build) == (
        ("only-for-trying",),
        ("smoke_test",),
    )


@_of("signed")
def test_delivery_by_hand(block: Block) -> None:
    """What a shell signs and sends is a delivery that the receiver takes for genuine."""
    with listener() as (url, received):
        script = block.text.replace("https://airflow.example.com", url).replace("='…'", "='s3cret'")
        script = script.replace("<build id>", "01m89jv34g000001nhyyx1qp")
        commands.run(script)
    body, signature = received[0]
    assert webhook.verify_signature(body, signature, ("s3cret",))
    assert not webhook.verify_signature(body, signature, ("another",))
    assert webhook.Delivery.from_body(body).finished


@_of("no")
def test_commands_that_are_run_elsewhere(block: Block) -> None:
    """A shell can read it, and the page says why nothing more is done here."""
    commands.check_syntax(block.text)
    assert len(block.why.split()) > 3


@_of("output")
def test_output(block: Block, sandbox: Sandbox) -> None:
    """What a page shows of a failed build is what a failed build says."""
    from tests.tasks.stage import TaskInstance, building, carried_out, context_of

    sandbox.plan(outcome="failed", failure="compile", queue=0.1, run=0.2)
    with pytest.raises(BuildFailed) as raised:
        carried_out(building("deferrable"), context_of(TaskInstance()))
    said = f"BuildFailed: {raised.value}".replace(sandbox.url, "http://127.0.0.1:8765")
    wanted = ".*".join(re.escape(part) for part in block.text.strip().split("…"))
    assert re.fullmatch(wanted, said), said


@_of("json", "toml", "ini")
def test_data(block: Block) -> None:
    """Data can be read, a connection can be used, and Airflow has each option."""
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
                assert commands.known_option(section, option), f"[{section}] {option}"


def test_makefile_has_what_the_readme_says() -> None:
    """The two commands of the README are targets."""
    assert {"demo", "test", "docs"} <= commands.TARGETS
    assert (ROOT / "README.md").read_text().count("make demo") >= 2
