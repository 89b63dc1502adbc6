"""The operator that downloads a build's artifact."""

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
    """Downloads a build's artifact to a local path or an object store, or unpacks it; verifies it.

    Returns ``path``, and ``size_bytes`` and ``checksum_md5`` of the tarball; the checksum is None
    where it was not computed. The destination is replaced as a whole or not at all. A retry resumes
    the download of a local file.

    :param build_id: the build (templated).
    :param destination: a local path, or a URL of Airflow's object storage such as
        ``s3://conn@bucket/key`` (templated). A path that ends with a slash is a directory to unpack
        into.
    :param buildpixel_conn_id: the Airflow connection (templated).
    :param overwrite: replace what is at the destination. Otherwise the task succeeds only if
        nothing is there, or exactly this artifact.
    :param verify: compare the checksum; the size is always compared.
    :param extract: unpack into the local directory ``destination``, without the tarball on disk.
    :param connections: the most parallel connections to try; they are kept if they are faster than
        one. Each above four costs another 4 MiB of memory.
    :param min_rate: bytes per second below which a connection is replaced by a new one.
    :param max_expansion: how many times its size the artifact may unpack to.
    :raises ArtifactUnavailable: the build never produced one, or retention removed it.
    :raises ChecksumMismatch: the data is not what BuildPixel announced; it was deleted.
    """

    template_fields: Sequence[str] = ("build_id", "destination", "buildpixel_conn_id")
    ui_color = "#e8e3ff"

    def __init__(  # noqa: PLR0913  # the public interface
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

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002  # Airflow's signature
        """Download the artifact; return its path, size and checksum."""
        from airflow_provider_buildpixel.downloads.cancel import CancelToken

        self._cancel_token = CancelToken()
        try:
            result = self.hook.download_artifact(
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
        self.log.info("%s", result.summary())
        return result.to_json()

    def on_kill(self) -> None:
        """Cancel the download at once; a retry resumes a local file."""
        if self._cancel_token is not None:
            self._cancel_token.cancel()
        self.log.warning("Stopping the download; a retry resumes a local file where it stopped")
