"""Downloads an artifact: whether at all, and how often to begin anew."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.client.brake import Brake
from airflow_provider_buildpixel.client.destinations import md5_of
from airflow_provider_buildpixel.client.store import quiet_urls
from airflow_provider_buildpixel.client.transfer import ChangedError, Transfer
from airflow_provider_buildpixel.core.artifacts import Downloaded, Expected
from airflow_provider_buildpixel.exceptions import InvalidRequest, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_buildpixel.client.destinations import Destination
    from airflow_provider_buildpixel.client.options import Options
    from airflow_provider_buildpixel.core.model import Artifact
    from airflow_provider_buildpixel.core.settings import Settings

RESTARTS = 3


@dataclass
class Download:
    """One download.

    :param fresh: asks the API for the artifact, with a fresh signed URL.
    :param tell: takes lines about how it goes.
    :param brake: stops it.
    """

    build_id: str
    fresh: Callable[[], Artifact]
    destination: Destination
    settings: Settings
    options: Options
    tell: Callable[[str], None]
    brake: Brake = field(default_factory=Brake)
    chance: Callable[[], float] = random.random

    def run(self) -> Downloaded:
        """Fetch it, unless it is there already.

        :raises BuildPixelError: it could not be had.
        """
        artifact = self.fresh()
        expected = Expected.of(self.build_id, artifact)
        if gaps := expected.gaps(verify=self.options.verify):
            self.tell(gaps)
        size = self.destination.present()
        if size is not None and not self.options.overwrite:
            return self._there(size, expected)
        for _ in range(RESTARTS):
            try:
                with quiet_urls(), closing(self.destination):
                    return Transfer(self, expected, artifact.url).run()
            except ChangedError as error:
                self.tell(f"The artifact has changed ({error}): starting anew")
            artifact = self.fresh()
            expected = Expected.of(self.build_id, artifact)
        raise UnexpectedAnswer(f"the artifact of build {self.build_id} changes again and again")

    def _there(self, size: int, expected: Expected) -> Downloaded:
        """Give what is there, if it is the artifact already.

        :raises InvalidRequest: it is something else.
        """
        # The same size alone may be another build's artifact.
        md5 = self._found_md5() if self._comparable(size, expected) else None
        if md5 is not None and md5 == expected.md5:
            self.tell(f"{self.destination.name} is there already and is the artifact")
            return Downloaded(self.destination.name, size, md5)
        raise InvalidRequest(
            f"{self.destination.name} exists and is not known to be the artifact of build "
            f"{self.build_id}: set overwrite=True to replace it, or choose another destination"
        )

    def _comparable(self, size: int, expected: Expected) -> bool:
        return self.options.verify and expected.md5 is not None and size == expected.size

    def _found_md5(self) -> str:
        self.tell(f"{self.destination.name} is there, with the right size: checking it")
        return md5_of(self._braked(self.destination.content()))

    def _braked(self, views: Iterator[memoryview]) -> Iterator[memoryview]:
        for view in views:
            self.brake.check()
            yield view
