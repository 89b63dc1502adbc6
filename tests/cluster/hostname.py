"""A separate host name for each component, as if each ran on its own machine."""

from __future__ import annotations

import os

NAME = "BUILDPIXEL_CLUSTER_NAME"


def hostname() -> str:
    """Return the name of this component; Airflow uses it as the host name."""
    return os.environ.get(NAME, "cluster")
