"""How Airflow gets here."""

from __future__ import annotations

from urllib.parse import quote


def connection_uri(url: str, token: str) -> str:
    """Return an Airflow connection as a URI, links to our pages of builds included."""
    page = quote(f"{url}/dashboard/builds/{{build_id}}", safe="")
    return f"buildpixel://:{token}@{quote(url, safe='')}/?build_url={page}"
