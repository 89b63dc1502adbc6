"""Whether a sensor can start in the triggerer, so that it needs no worker until the build ends."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from airflow import __version__ as airflow_version
from airflow.triggers.base import StartTriggerArgs

SUPPORTED = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 3)
"""Whether this Airflow renders templates for a trigger: 2.11 does not, 3.0 to 3.2 are untested."""

NEEDS_WORKER = re.compile(r"\b(ti|task_instance|xcom_pull|macros|var|conn)\b")
"""Names in a template that the triggerer cannot resolve; with an XCom it would hang for ever."""


def can_start_from_trigger(build_id: Any) -> bool:
    """Return whether the triggerer can resolve this ``build_id``."""
    return SUPPORTED and isinstance(build_id, str) and not NEEDS_WORKER.search(_templates(build_id))


def _templates(text: str) -> str:
    """Return only the Jinja expressions of a text."""
    return " ".join(re.findall(r"{{.*?}}|{%.*?%}", text, re.DOTALL))


def start_args(trigger: type[Any], timeout: float, **kwargs: Any) -> StartTriggerArgs:
    """Return the arguments with which Airflow starts a trigger instead of the task.

    :param trigger: the class of the trigger.
    :param timeout: seconds after which Airflow ends the wait.
    :param kwargs: the arguments of the trigger.
    """
    return StartTriggerArgs(
        trigger_cls=f"{trigger.__module__}.{trigger.__qualname__}",
        next_method="execute_complete",
        trigger_kwargs=kwargs,
        timeout=timedelta(seconds=timeout),
    )
