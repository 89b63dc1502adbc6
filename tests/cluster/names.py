"""The name by which each process of the cluster goes, as if each ran on a machine of its own."""

from __future__ import annotations

import os

NAME = "BUILDPIXEL_CLUSTER_NAME"


def hostname() -> str:
    """Give the name that the cluster gave this process; Airflow takes it for its host's."""
    return os.environ.get(NAME, "cluster")
