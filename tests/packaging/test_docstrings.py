"""Public names have docstrings that document each parameter."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest

from airflow_provider_buildpixel.sandbox import Variants
from tests.packaging.test_public_names import AIRFLOW, PUBLIC, SINCE

HOOKS = PUBLIC["hooks.buildpixel"]
NAMES = [
    (module, name)
    for module, names in PUBLIC.items()
    if SINCE.get(module, (0,)) <= AIRFLOW
    for name in names
] + [("sandbox", "Plan")]
NAMED_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _load(module: str, name: str) -> Any:
    return getattr(import_module(f"airflow_provider_buildpixel.{module}"), name)


def _parameters(public: Any) -> list[str]:
    function = public.__init__ if inspect.isclass(public) else public
    parameters = inspect.signature(function).parameters.values()
    return [item.name for item in parameters if item.kind in NAMED_KINDS and item.name != "self"]


def _docstrings(public: Any) -> str:
    """Return the docstring of a public name, and those of its base classes in this package."""
    classes = inspect.getmro(public) if inspect.isclass(public) else [public]
    in_package = [
        item for item in classes if item.__module__.startswith("airflow_provider_buildpixel")
    ]
    return "\n".join(inspect.getdoc(item) or "" for item in in_package)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_name_is_documented(module: str, name: str) -> None:
    """A public name has a docstring of its own with a sentence and each parameter."""
    public = _load(module, name)
    assert public.__doc__, name
    assert public.__doc__.strip().splitlines()[0][0].isupper()
    if public is Variants:
        return  # its fields have their meanings in metadata; see below
    text = _docstrings(public)
    assert [item for item in _parameters(public) if f":param {item}:" not in text] == []


def test_variants_are_documented() -> None:
    """Each field of Variants has a meaning, which ``buildpixel-sandbox variants`` shows."""
    assert set(Variants.meanings()) == set(_parameters(Variants))
    assert all(Variants.meanings().values())


@pytest.mark.parametrize("name", HOOKS)
def test_methods_of_hooks_are_documented(name: str) -> None:
    """Each public method of the hooks has a docstring."""
    hook = _load("hooks.buildpixel", name)
    own = [value for key, value in vars(hook).items() if not key.startswith("_")]
    methods = [value for value in own if inspect.isroutine(value)]
    assert len(methods) > 20
    assert [method.__name__ for method in methods if not inspect.getdoc(method)] == []
