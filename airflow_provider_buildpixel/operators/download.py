"""The operator that brings a build's artifact to where it is wanted."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_buildpixel.hooks.buildpixel import BuildPixelHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_buildpixel.downloads.cancel import CancelToken


class BuildPixelDownloadArtifactOperator(BaseOperator):
    """Downloads a build's artifact, verified, to a local path or an object store, or unpacks it.

    Returns ``path``, ``size_bytes`` and ``checksum_md5``, both of the tarball; the last is None
    where it was not computed. What is at the destination is replaced as a whole or not at all. A
    retry goes on with what an earlier try has fetched into a local file.

    :param build_id: the build (templated).
    :param destination: a local path, or a URL of Airflow's object storage such as
        ``s3://conn@bucket/key`` (templated). With a closing slash it is a directory and unpacked
        into.
    :param buildpixel_conn_id: the Airflow connection (templated).
    :param overwrite: replace what is there; else the task succeeds only if the artifact itself is
        there already.
    :param verify: compare the checksum; the size is always compared.
    :param extract: unpack into the local directory ``destination``, without the tarball on disk.
    :param connections: how many connections may be tried at once; they are kept if they are
        faster than one. Above four each costs 4 MiB of memory more.
    :param min_rate: bytes in a second below which a connection is given up for a new one.
    :param max_expansion: how many times its size the artifact may unpack to.
    :raises ArtifactUnavailable: never produced, or removed by retention.
    :raises ChecksumMismatch: what arrived is not what BuildPixel announced; it was deleted.
    """

    template_fields: Sequence[str] = ("build_id", "destination", "buildpixel_conn_id")
    ui_color = "#e8e3ff"

    def __init__(  # the public interface
        self,
        *,
        build_id: str,
        destination: Any,
        buildpixel_conn_id: str = "buildpixel_default",
        overwrite: bool = False,
        verify: bool = True,
        extract: bool = False,
        connections: int = 4,
        min_rate: float = 16 * 1024,
        max_expansion: float = 50.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.build_id = build_id
        self.destination = destination
        self.buildpixel_conn_id = buildpixel_conn_id
        self.overwrite = overwrite
        self.verify = verify
        self.extract = extract
        self.connections = connections
        self.min_rate = min_rate
        self.max_expansion = max_expansion
        self._cancel_token: CancelToken | None = None

    @cached_property
    def hook(self) -> BuildPixelHook:
        """The hook of this task."""
        return BuildPixelHook(self.buildpixel_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:  # Airflow's signature
        """Download it."""
        from airflow_provider_buildpixel.downloads.cancel import CancelToken

        self._cancel_token = CancelToken()
        try:
            found = self.hook.download_artifact(
                self.build_id,
                self.destination,
                overwrite=self.overwrite,
                verify=self.verify,
                extract=self.extract,
                connections=self.connections,
                min_rate=self.min_rate,
                max_expansion=self.max_expansion,
                cancel_token=self._cancel_token,
            )
        finally:
            self.hook.close()
        self.log.info("%s", found.summary())
        return found.to_json()

    def on_kill(self) -> None:
        """Stop at once; what came so far stays for a retry."""
        if self._cancel_token is not None:
            self._cancel_token.cancel()
        self.log.warning("Stopping the download; a retry goes on with what a local file has so far")
