"""The triggers that are compared: this provider's, dbt Cloud's and Databricks'.

Each has the settings that its operator passes by default.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from tests.bench.dbt_cloud import use_plain_http

if TYPE_CHECKING:
    from contextlib import ExitStack

    from airflow.triggers.base import BaseTrigger


class BuildPixelWait:
    """The trigger of this provider, with its operator's reads, waiting for a sandbox build."""

    def __init__(self, channel: str, stack: ExitStack, conn_id: str) -> None:
        from airflow_provider_buildpixel.sandbox import Plan, Sandbox

        self._sandbox = stack.enter_context(Sandbox(default=Plan("hangs", lines=4)))
        setting = self._sandbox.settings("MyGame")[0]["id"]
        self._build = self._sandbox.push(setting)
        self._channel, self._conn_id = channel, conn_id
        store_connection(
            conn_id,
            conn_type="buildpixel",
            host=self._sandbox.url,
            password=self._sandbox.token,
        )

    @property
    def read_requested(self) -> bool:
        """Whether the wait has sent its first request."""
        return bool(self._sandbox.requests_to("GET /builds/:id"))

    def fault(self, name: str, **params: Any) -> Any:
        """Inject a fault."""
        return self._sandbox.fault(name, **params)

    def finish(self) -> None:
        """Complete the build."""
        self._sandbox.set_status(self._build, "complete")

    async def wait(self) -> str:
        """Wait as a task does: after an error event it reads the build and continues."""
        from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
        from airflow_provider_buildpixel.triggers.buildpixel import BuildPixelBuildTrigger

        channel = "polling" if self._channel == "polling" else None
        while True:
            trigger = BuildPixelBuildTrigger(
                build_id=self._build, buildpixel_conn_id=self._conn_id, channel=channel
            )
            event = await first_event(trigger)
            if event["status"] == "complete":
                return "success"
            async with BuildPixelAsyncHook(self._conn_id) as hook:
                await hook.get_build(self._build)


class OtherProviderWait:
    """Another provider's trigger, waiting for the run of the fake service."""

    def __init__(self, provider: str, stack: ExitStack, conn_id: str) -> None:
        from tests.chaos.fake_service import FakeService

        self._service = stack.enter_context(FakeService())
        self._provider, self._conn_id = provider, conn_id
        host, port = self._service.address
        if provider == "dbt":
            login = {"login": "1", "password": "bench"}
            store_connection(conn_id, conn_type="dbt_cloud", host=f"{host}:{port}", **login)
        else:
            http = {"schema": "http", "host": host, "port": port}
            store_connection(conn_id, conn_type="databricks", password="bench", **http)
        self.fault = self._service.fault
        self.finish = self._service.finish

    @property
    def read_requested(self) -> bool:
        """Whether the wait has sent its first request."""
        return self._service.read_requested

    async def wait(self) -> str:
        """Wait as the trigger does."""
        if self._provider == "dbt":
            event = await first_event(dbt_cloud_trigger(self._conn_id))
            return "success" if event["status"] == "success" else str(event["message"] or "error")
        event = await first_event(databricks_trigger(self._conn_id))
        succeeded = json.loads(event["run_state"])["result_state"] == "SUCCESS"
        return "success" if succeeded else str(event)


def store_connection(conn_id: str, **fields: Any) -> None:
    """Store a connection."""
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)


async def first_event(trigger: BaseTrigger) -> dict[str, Any]:
    """Return the payload of a trigger's first event, and close the trigger."""
    running: Any = trigger.run()
    async with aclosing(running) as events:
        async for event in events:
            return dict(event.payload)
    raise RuntimeError("the trigger returned without an event")


def dbt_cloud_trigger(conn_id: str) -> BaseTrigger:
    """Return dbt Cloud's trigger as its operator creates it, but without TLS."""
    from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    use_plain_http()
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


def databricks_trigger(conn_id: str) -> BaseTrigger:
    """Return Databricks' trigger as its operator creates it."""
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
