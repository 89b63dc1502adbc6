"""dbt Cloud's trigger against a local server."""

from __future__ import annotations

from typing import Any


def use_plain_http() -> None:
    """Let dbt Cloud's hook use HTTP: its URLs always have the scheme ``https``."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook

    def url(tenant: str, endpoint: str, *_: Any, **__: Any) -> tuple[str, dict[str, Any]]:
        return f"http://{tenant}/api/v2/accounts/{endpoint}", {}

    DbtCloudHook.get_request_url_params = staticmethod(url)
