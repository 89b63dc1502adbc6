"""How a download is done, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_buildpixel.core.pace import TRIAL
from airflow_provider_buildpixel.core.sizes import KIB


@dataclass(frozen=True)
class Options:
    """How to fetch.

    :param overwrite: replace what is there.
    :param verify: compare the checksum.
    :param connections: how many may be tried at once; 1 is always one stream.
    :param least_rate: bytes in a second below which a connection is given up, over
    :param window: so many seconds.
    :param trial: seconds for which one connection, and then several, are measured.
    """

    overwrite: bool = False
    verify: bool = True
    connections: int = 4
    least_rate: float = 16 * KIB
    window: float = 30.0
    trial: float = TRIAL
