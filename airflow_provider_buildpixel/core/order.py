"""What the order of a list tells of the builds that were not read: BuildPixel promises none.

As a rule a list starts with the newest, and years of builds need not be read for the last one.
A list can look so and be sorted by something else first, such as the status, and then what is
newest is on a later page. So a page is believed only if its statuses are mixed.
"""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_buildpixel.core.model import Build


def newest_first(builds: Sequence[Build]) -> bool:
    """Tell whether the ids of these builds fall; of one build that says nothing."""
    return len(builds) > 1 and all(one.id > two.id for one, two in pairwise(builds))


def by_age(builds: Sequence[Build]) -> bool:
    """Tell whether a list surely starts with the newest: its ids fall over mixed statuses."""
    runs = [status for status, _ in groupby(build.status for build in builds)]
    return newest_first(builds) and len(runs) > len(set(runs))
