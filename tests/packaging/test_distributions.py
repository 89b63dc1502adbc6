"""What is released: a wheel, and an sdist that gives the same wheel anywhere."""

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


def _built(kind: str, source: Path, place: Path) -> Path:
    """Build with the pinned backend, as ``make dist`` does; nothing is fetched."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(place)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (found,) = place.iterdir()
    return found


def _contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this tree."""
    return _built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and unpack it."""
    place = tmp_path_factory.mktemp("sdist")
    archive = _built("sdist", ROOT, place)
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    return next(path for path in place.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """Read what an index shows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_sdist_gives_the_same_wheel(
    wheel: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A wheel that is built from the sdist has the same files with the same content."""
    again = _built("wheel", sdist, tmp_path_factory.mktemp("again"))
    assert again.name == wheel.name
    assert _contents(again) == _contents(wheel)


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    """Modules, py.typed, and files that are no Python are all in it; so are the examples."""
    files = [path for path in (ROOT / PACKAGE).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT) for path in files if path.suffix != ".pyc"}
    examples = (ROOT / "example_dags").glob("*.py")
    wanted |= {Path(PACKAGE) / path.relative_to(ROOT) for path in examples}
    packed = set(map(Path, _contents(wheel)))
    assert Path(PACKAGE, "py.typed") in wanted
    assert sorted(wanted - packed) == []


def test_wheel_has_nothing_else(wheel: Path) -> None:
    """Neither tests nor documentation, nor what was built, comes along."""
    packed = set(map(Path, _contents(wheel)))
    assert {path.parts[0] for path in packed} == {
        PACKAGE,
        f"{wheel.name.split('-py3')[0]}.dist-info",
    }
    assert not [path for path in packed if path.suffix == ".pyc"]


def test_sdist_has_what_a_packager_needs(sdist: Path) -> None:
    """Licence, changelog, documentation and tests are in the sdist."""
    for name in ("LICENSE", "CHANGELOG.md", "README.md", "docs/index.md", "tests/conftest.py"):
        assert (sdist / name).is_file(), name


def test_metadata(metadata: Message) -> None:
    """Name, versions, licence and description are complete; no address and no person is made up."""
    assert metadata["Name"] == "airflow-provider-buildpixel"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "# airflow-provider-buildpixel" in str(metadata.get_payload())
    for absent in ("Author", "Author-email", "Maintainer", "Home-page", "Project-URL"):
        assert metadata[absent] is None


def test_classifiers(metadata: Message) -> None:
    """Each is one that an index knows, and every supported Python has one."""
    given = metadata.get_all("Classifier") or []
    assert set(given) <= classifiers
    pythons = [f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)]
    assert set(pythons) <= set(given)


def test_changelog_has_the_version(metadata: Message) -> None:
    """The version that is built is the newest of the changelog."""
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    first = next(line for line in lines if line.startswith("## "))
    assert first.split()[1] == metadata["Version"]


def test_entry_points(wheel: Path) -> None:
    """Airflow, pytest and the shell find their parts of it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(name).decode()
    for group in ("apache_airflow_provider", "airflow.plugins", "pytest11", "console_scripts"):
        assert f"[{group}]" in text
