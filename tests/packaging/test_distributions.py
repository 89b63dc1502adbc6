"""The released files: a wheel, and an sdist that builds the same wheel anywhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trove_classifiers import classifiers

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
PACKAGE = "airflow_provider_buildpixel"


def _build(kind: str, source: Path, folder: Path) -> Path:
    """Build with the pinned backend, as ``make dist`` does, without network access."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


def _contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this tree."""
    return _build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and unpack it."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = _build("sdist", ROOT, folder)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """Return the metadata that a package index shows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_sdist_builds_the_same_wheel(
    wheel: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A wheel built from the sdist has the same files with the same content."""
    rebuilt = _build("wheel", sdist, tmp_path_factory.mktemp("again"))
    assert rebuilt.name == wheel.name
    assert _contents(rebuilt) == _contents(wheel)


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """The wheel contains all modules, py.typed, other files of the package, and the examples."""
    files = [path for path in (ROOT / PACKAGE).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT) for path in files if path.suffix != ".pyc"}
    examples = (ROOT / "example_dags").glob("*.py")
    expected |= {Path(PACKAGE) / path.relative_to(ROOT) for path in examples}
    packed = set(map(Path, _contents(wheel)))
    assert Path(PACKAGE, "py.typed") in expected
    assert sorted(expected - packed) == []


def test_wheel_has_nothing_else(wheel: Path) -> None:
    """The wheel contains no tests, no documentation and no build output."""
    packed = set(map(Path, _contents(wheel)))
    assert {path.parts[0] for path in packed} == {
        PACKAGE,
        f"{wheel.name.split('-py3')[0]}.dist-info",
    }
    assert not [path for path in packed if path.suffix == ".pyc"]


def test_sdist_has_what_a_packager_needs(sdist: Path) -> None:
    """The sdist contains licence, changelog, documentation and tests."""
    for name in ("LICENSE", "CHANGELOG.md", "README.md", "docs/index.md", "tests/conftest.py"):
        assert (sdist / name).is_file(), name


def test_metadata(metadata: Message) -> None:
    """Name, version, licence and description are complete; there is no invented URL or person."""
    assert metadata["Name"] == "airflow-provider-buildpixel"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "# airflow-provider-buildpixel" in str(metadata.get_payload())
    for absent in ("Author", "Author-email", "Maintainer", "Home-page", "Project-URL"):
        assert metadata[absent] is None


def test_classifiers(metadata: Message) -> None:
    """Package indexes accept each classifier, and every supported Python has one."""
    given = metadata.get_all("Classifier") or []
    assert set(given) <= classifiers
    pythons = [f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)]
    assert set(pythons) <= set(given)


def test_changelog_has_the_version(metadata: Message) -> None:
    """The version of the wheel is the newest in the changelog."""
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    first = next(line for line in lines if line.startswith("## "))
    assert first.split()[1] == metadata["Version"]


def test_entry_points(wheel: Path) -> None:
    """The wheel has the entry points for Airflow, pytest and the command line."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(name).decode()
    for group in ("apache_airflow_provider", "airflow.plugins", "pytest11", "console_scripts"):
        assert f"[{group}]" in text
