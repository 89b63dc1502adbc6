"""Those who wait: our trigger, dbt Cloud's and Databricks', each with its operator's defaults."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import ExitStack

    from airflow.triggers.base import BaseTrigger


class Ours:
    """A build of the sandbox, and what our operator does in its wait."""

    def __init__(self, channel: str, stack: ExitStack, name: str) -> None:
        from airflow_provider_buildpixel.sandbox import Plan, Sandbox

        self._sandbox = stack.enter_context(Sandbox(default=Plan("hangs", lines=4)))
        setting = self._sandbox.settings("MyGame")[0]["id"]
        self._build = self._sandbox.push(setting)
        self._channel, self._conn = channel, name
        put(name, conn_type="buildpixel", host=self._sandbox.url, password=self._sandbox.token)

    @property
    def read_requested(self) -> bool:
        """Whether the wait has begun."""
        return bool(self._sandbox.requests_to("GET /builds/:id"))

    def fault(self, name: str, **params: Any) -> Any:
        """Order trouble."""
        return self._sandbox.fault(name, **params)

    def finish(self) -> None:
        """Let the build end well."""
        self._sandbox.set_status(self._build, "complete")

    async def wait(self) -> str:
        """Wait as a task does: woken by trouble, it reads the build once more, and goes on."""
        from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
        from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger

        channel = "polling" if self._channel == "polling" else None
        while True:
            trigger = BuildPixelBuildTrigger(
                build_id=self._build, buildpixel_conn_id=self._conn, channel=channel
            )
            event = await first(trigger)
            if event["status"] == "complete":
                return "right"
            async with BuildPixelAsyncHook(self._conn) as hook:
                await hook.get_build(self._build)


class Theirs:
    """A run of the fake, and their trigger."""

    def __init__(self, name: str, stack: ExitStack, conn: str) -> None:
        from tests.chaos.fake import Fake

        self._fake = stack.enter_context(Fake())
        self._name, self._conn = name, conn
        host, port = self._fake.address
        if name == "dbt":
            put(conn, conn_type="dbt_cloud", host=f"{host}:{port}", login="1", password="bench")
        else:
            http = {"schema": "http", "host": host, "port": port}
            put(conn, conn_type="databricks", password="bench", **http)
        self.fault = self._fake.fault
        self.finish = self._fake.finish

    @property
    def read_requested(self) -> bool:
        """Whether the wait has begun."""
        return self._fake.read_requested

    async def wait(self) -> str:
        """Wait as their trigger does."""
        if self._name == "dbt":
            event = await first(dbt(self._conn))
            return "right" if event["status"] == "success" else str(event["message"] or "error")
        event = await first(databricks(self._conn))
        good = json.loads(event["run_state"])["result_state"] == "SUCCESS"
        return "right" if good else str(event)


def put(conn_id: str, **fields: Any) -> None:
    """Store a connection."""
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)


async def first(trigger: BaseTrigger) -> dict[str, Any]:
    """Give the payload of a trigger's first event."""
    async for event in trigger.run():
        return dict(event.payload)
    raise RuntimeError("the trigger returned without an event")


def dbt(conn_id: str) -> BaseTrigger:
    """Make dbt Cloud's trigger as its operator does, but without TLS."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    def url(tenant: str, endpoint: str, *_: Any, **__: Any) -> tuple[str, dict[str, Any]]:
        return f"http://{tenant}/api/v2/accounts/{endpoint}", {}

    DbtCloudHook.get_request_url_params = staticmethod(url)  # its scheme is fixed to https
    run = DbtCloudRunJobOperator(task_id="run", job_id=1)
    trigger: BaseTrigger = DbtCloudRunJobTrigger(
        conn_id=conn_id,
        run_id=1,
        end_time=time.time() + run.timeout,
        account_id=1,
        poll_interval=run.check_interval,
        hook_params=run.hook_params,
    )
    return trigger


def databricks(conn_id: str) -> BaseTrigger:
    """Make Databricks' trigger as its operator does."""
    from airflow.providers.databricks.operators.databricks import DatabricksRunNowOperator
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    run = DatabricksRunNowOperator(task_id="run", job_id=1)
    trigger: BaseTrigger = DatabricksExecutionTrigger(
        run_id=1,
        databricks_conn_id=conn_id,
        polling_period_seconds=run.polling_period_seconds,
        retry_limit=run.databricks_retry_limit,
        retry_delay=run.databricks_retry_delay,
        retry_args=run.databricks_retry_args,
    )
    return trigger
