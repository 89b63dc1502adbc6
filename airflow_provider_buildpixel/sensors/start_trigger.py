"""Whether a sensor may begin in the triggerer, without any worker before the build has ended."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from airflow import __version__ as airflow_version
from airflow.triggers.base import StartTriggerArgs

SUPPORTED = tuple(map(int, airflow_version.split(".")[:2])) >= (3, 3)
"""Airflow 2.11 hands templates to the trigger as they stand; between them nobody has looked."""

NEEDS_WORKER = re.compile(r"\b(ti|task_instance|xcom_pull|macros|var|conn)\b")
"""What a template may ask for that the triggerer cannot give: an XCom there hangs for good."""


def can_start_from_trigger(build_id: Any) -> bool:
    """Tell whether the triggerer can know the build that is meant."""
    return SUPPORTED and isinstance(build_id, str) and not NEEDS_WORKER.search(_templates(build_id))


def _templates(text: str) -> str:
    return " ".join(re.findall(r"{{.*?}}|{%.*?%}", text, re.DOTALL))


def start_args(trigger: type[Any], timeout: float, **kwargs: Any) -> StartTriggerArgs:
    """Say what Airflow starts instead of the task.

    :param trigger: its class.
    :param timeout: seconds after which Airflow ends the wait.
    """
    return StartTriggerArgs(
        trigger_cls=f"{trigger.__module__}.{trigger.__qualname__}",
        next_method="execute_complete",
        trigger_kwargs=kwargs,
        timeout=timedelta(seconds=timeout),
    )
