"""The Airflow connection for a sandbox."""

from __future__ import annotations

from urllib.parse import quote


def connection_uri(url: str, token: str) -> str:
    """Return an Airflow connection as a URI, with links to the sandbox's pages of builds."""
    page = quote(f"{url}/dashboard/builds/{{build_id}}", safe="")
    return f"buildpixel://:{token}@{quote(url, safe='')}/?build_url={page}"
