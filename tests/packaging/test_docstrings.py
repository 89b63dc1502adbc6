"""An editor that shows a docstring shows what each parameter means."""

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
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _found(module: str, name: str) -> Any:
    return getattr(import_module(f"airflow_provider_buildpixel.{module}"), name)


def _parameters(public: Any) -> list[str]:
    called = public.__init__ if inspect.isclass(public) else public
    parameters = inspect.signature(called).parameters.values()
    return [one.name for one in parameters if one.kind in NAMED and one.name != "self"]


def _documented(public: Any) -> str:
    """Give its docstring, and those of the classes of ours that it refines."""
    family = inspect.getmro(public) if inspect.isclass(public) else [public]
    ours = [one for one in family if one.__module__.startswith("airflow_provider_buildpixel")]
    return "\n".join(inspect.getdoc(one) or "" for one in ours)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_public_name_is_documented(module: str, name: str) -> None:
    """It has a docstring of its own, in which a sentence is followed by each parameter."""
    public = _found(module, name)
    assert public.__doc__, name
    assert public.__doc__.strip().splitlines()[0][0].isupper()
    if public is Variants:
        return  # each of its fields carries its meaning; see below
    text = _documented(public)
    assert [one for one in _parameters(public) if f":param {one}:" not in text] == []


def test_variants_say_what_they_mean() -> None:
    """Each field of Variants has a meaning, which ``buildpixel-sandbox variants`` shows."""
    assert set(Variants.meanings()) == set(_parameters(Variants))
    assert all(Variants.meanings().values())


@pytest.mark.parametrize("name", HOOKS)
def test_methods_of_hooks_are_documented(name: str) -> None:
    """Each public method of the hooks says what it does, and which request it makes or combines."""
    hook = _found("hooks.buildpixel", name)
    own = [value for key, value in vars(hook).items() if not key.startswith("_")]
    methods = [value for value in own if inspect.isroutine(value)]
    assert len(methods) > 20
    assert [method.__name__ for method in methods if not inspect.getdoc(method)] == []
