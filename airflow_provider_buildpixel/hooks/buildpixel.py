"""The blocking hook; the asyncio one has the same methods and is found here too."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_buildpixel import connection_form
from airflow_provider_buildpixel.api import endpoints, fields
from airflow_provider_buildpixel.builds import lookup, request
from airflow_provider_buildpixel.downloads import artifacts
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound
from airflow_provider_buildpixel.hooks import connections
from airflow_provider_buildpixel.hooks.buildpixel_async import BuildPixelAsyncHook
from airflow_provider_buildpixel.hooks.connections import parse_connection, warn_if_unverified
from airflow_provider_buildpixel.waits.wait import (
    ended_or_timeout,
    hook_wait,
    log_line_callback,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

    from airflow_provider_buildpixel.api.blocking import Client
    from airflow_provider_buildpixel.api.model import (
        Artifact,
        Build,
        BuildSetting,
        Identity,
        Project,
    )
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.builds.logs import LogLine
    from airflow_provider_buildpixel.downloads.artifacts import Downloaded
    from airflow_provider_buildpixel.downloads.cancel import CancelToken


__all__ = ["BuildPixelAsyncHook", "BuildPixelHook"]

T = TypeVar("T")


class BuildPixelHook(BaseHook):
    """Talks to BuildPixel's REST API, blocking, over requests.

    Every method raises a :class:`~airflow_provider_buildpixel.exceptions.BuildPixelError`. Reads
    are repeated over passing trouble; what changes something is repeated only after a refusal.

    :param buildpixel_conn_id: the Airflow connection of type ``buildpixel``.
    """

    conn_name_attr = "buildpixel_conn_id"
    default_conn_name = "buildpixel_default"
    conn_type = "buildpixel"
    hook_name = "BuildPixel"

    def __init__(self, buildpixel_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.buildpixel_conn_id = buildpixel_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Give the form's extra fields to Airflow 2.11 to 3.1; later ones read provider info."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Give the form's labels and placeholders to Airflow 2.11 to 3.1."""
        return connection_form.behaviour()

    @cached_property
    def settings(self) -> Settings:
        """The connection, read once."""
        settings = self._look_up()
        warn_if_unverified(settings, self.buildpixel_conn_id, self.log)
        return settings

    @cached_property
    def client(self) -> Client:
        """The client of all this hook's requests."""
        from airflow_provider_buildpixel.api.blocking import Client  # light

        return Client(self.settings, reload_settings=self._look_up)

    def _look_up(self) -> Settings:
        return parse_connection(self.get_connection(self.buildpixel_conn_id))

    def get_conn(self) -> requests.Session:
        """Give the authenticated session; it sends the token to BuildPixel's host only."""
        return self.client.session

    def close(self) -> None:
        """Give back the HTTP connections."""
        if "client" in self.__dict__:
            self.client.close()

    def test_connection(self) -> tuple[bool, str]:
        """Say whom the token belongs to (``GET /auth/me``, tried once)."""
        try:
            identity = self.client.attempt(endpoints.get_identity())
        except BuildPixelError as error:
            return False, str(error)
        finally:
            self.close()
        return True, connections.connection_message(identity)

    # Identity and organization

    def get_identity(self) -> Identity:
        """Give user, organization and role of the token (``GET /auth/me``)."""
        return self.client.perform(endpoints.get_identity())

    def update_organization(self, organization_id: str, **changes: Any) -> Any:
        """Change an organization (``PATCH /organizations/:id``); give the answer's JSON."""
        return self.client.perform(
            endpoints.update_organization(organization_id, fields.request_body(changes))
        )

    def update_perforce(
        self, organization_id: str, *, server_url: str, user_name: str, ticket: str
    ) -> Any:
        """Store Perforce credentials (``PATCH /organizations/:id/perforce``).

        :raises InvalidRequest: BuildPixel tried them, and Perforce refused.
        """
        body = {"serverUrl": server_url, "userName": user_name, "ticket": ticket}
        return self.client.perform(endpoints.update_perforce(organization_id, body))

    def disconnect_github(self, organization_id: str) -> None:
        """Disconnect the GitHub App (``DELETE /organizations/:id/integrations/github``)."""
        self.client.perform(endpoints.disconnect_github(organization_id))

    # Projects

    def list_projects(self, source_control: str | None = None) -> Iterator[Project]:
        """Give all projects, lazily page by page (``GET /projects``).

        :param source_control: ``github`` or ``perforce``.
        """
        return self.client.pages(endpoints.list_projects(source_control))

    def get_project(self, project_id: str) -> Project:
        """Give a project (``GET /projects/:id``)."""
        return self.client.perform(endpoints.get_project(project_id))

    def find_project(self, name_or_id: str) -> Project:
        """Find a project by id or exact name (``GET /projects/:id``, ``GET /projects``).

        :raises NotFound: none is called so; the message lists those there are.
        :raises InvalidRequest: several are, or nothing was given.
        """
        name_or_id = lookup.checked_project(name_or_id)
        if lookup.looks_like_id(name_or_id):
            try:
                return self.get_project(name_or_id)
            except NotFound:
                self.log.debug("No project has the id %s; trying it as a name", name_or_id)
        return lookup.find_project(name_or_id, self.list_projects())

    def add_github_project(
        self,
        name: str,
        *,
        installation_id: str | int,
        repo_full_name: str,
        default_branch: str,
        uproject_path: str | None = None,
    ) -> Project:
        """Add a project from GitHub (``POST /projects/add-repo``)."""
        body = {
            "name": name,
            "installationId": installation_id,
            "repoFullName": repo_full_name,
            "defaultBranch": default_branch,
            "uprojectPath": uproject_path,
        }
        return self.client.perform(endpoints.add_project("add-repo", fields.request_body(body)))

    def add_perforce_project(
        self, name: str, *, depot: str, stream_path: str, uproject_path: str | None = None
    ) -> Project:
        """Add a project from Perforce (``POST /projects/add-perforce``)."""
        body = {
            "name": name,
            "depot": depot,
            "streamPath": stream_path,
            "uprojectPath": uproject_path,
        }
        return self.client.perform(endpoints.add_project("add-perforce", fields.request_body(body)))

    def update_project(self, project_id: str, **changes: Any) -> Project:
        """Change name or description (``PATCH /projects/:id``)."""
        changed = self.client.perform(
            endpoints.update_project(project_id, fields.request_body(changes))
        )
        return changed or self.get_project(project_id)

    def delete_project(self, project_id: str) -> None:
        """Delete a project and its build settings (``DELETE /projects/:id``)."""
        self.client.perform(endpoints.delete_project(project_id))

    # Build settings

    def list_build_settings(self, project_id: str) -> Iterator[BuildSetting]:
        """Give a project's build settings (``GET /projects/:id/build-settings``)."""
        return self.client.pages(endpoints.list_build_settings(project_id))

    def get_build_setting(self, project_id: str, build_setting_id: str) -> BuildSetting:
        """Give a build setting (``GET /projects/:id/build-settings/:settingId``)."""
        return self.client.perform(endpoints.get_build_setting(project_id, build_setting_id))

    def find_build_setting(
        self, project_id: str, name_or_selector: str | Mapping[str, Any]
    ) -> BuildSetting:
        """Find the one build setting of this id, or with these fields.

        :param name_or_selector: an id, or a mapping such as ``{"platform": "Win64"}``.
        :raises NotFound: none fits; the message lists those there are.
        :raises InvalidRequest: several fit.
        """
        selector = lookup.parse_selector(name_or_selector)
        return lookup.find_setting(selector, self.list_build_settings(project_id))

    def create_build_setting(
        self, project_id: str, *, platform: str, build_type: str, ue_version: str, **more: Any
    ) -> BuildSetting:
        """Create a build setting (``POST /projects/:id/build-settings``).

        :param more: ``trigger``, ``branch`` or ``stream_path``, and the optional fields.
        """
        body = {"platform": platform, "buildType": build_type, "ueVersion": ue_version, **more}
        return self.client.perform(
            endpoints.create_build_setting(project_id, fields.request_body(body))
        )

    def update_build_setting(
        self, project_id: str, build_setting_id: str, **changes: Any
    ) -> BuildSetting:
        """Change a build setting (``PATCH /projects/:id/build-settings/:settingId``)."""
        body = fields.request_body(changes)
        call = endpoints.update_build_setting(project_id, build_setting_id, body)
        return self.client.perform(call) or self.get_build_setting(project_id, build_setting_id)

    def delete_build_setting(self, project_id: str, build_setting_id: str) -> None:
        """Delete a build setting (``DELETE /projects/:id/build-settings/:settingId``)."""
        self.client.perform(endpoints.delete_build_setting(project_id, build_setting_id))

    # Builds

    def trigger_build(
        self,
        project_id: str,
        build_setting_id: str,
        branch: str | None = None,
        commit: str | None = None,
        changelist: str | int | None = None,
    ) -> Build:
        """Start a build (``POST /projects/:id/build-settings/:settingId/trigger``).

        It supersedes, that is cancels, a live build of the same kind. After a lost answer the
        request is not repeated, and whether it ran is open; the operator settles that too.
        """
        call = endpoints.trigger_build(
            project_id, build_setting_id, branch=branch, commit=commit, changelist=changelist
        )
        return request.pending_build(self.client.perform(call), project_id, build_setting_id)

    def get_build(self, build_id: str) -> Build:
        """Give a build (``GET /builds/:id``)."""
        return self.client.perform(endpoints.get_build(build_id))

    def list_builds(  # the documented filters
        self,
        project_id: str | None = None,
        build_setting_id: str | None = None,
        status: str | None = None,
        platform: str | None = None,
        build_type: str | None = None,
        branch: str | None = None,
    ) -> Iterator[Build]:
        """Give the builds that fit, lazily page by page, in no certain order (``GET /builds``)."""
        call = endpoints.list_builds(
            project_id=project_id,
            build_setting_id=build_setting_id,
            status=status,
            platform=platform,
            build_type=build_type,
            branch=branch,
        )
        return self.client.pages(call)

    def get_artifact(self, build_id: str) -> Artifact:
        """Give the signed URL, size and MD5 of the artifact (``GET /builds/:id/download``).

        :raises ArtifactUnavailable: never produced, or removed by retention.
        """
        try:
            return self.client.perform(endpoints.get_artifact(build_id))
        except NotFound as error:
            raise artifacts.artifact_unavailable(build_id, error) from error

    def download_artifact(  # how to fetch is the caller's to say
        self,
        build_id: str,
        destination: Any,
        *,
        overwrite: bool = False,
        verify: bool = True,
        extract: bool = False,
        connections: int = 4,
        min_rate: float = 16 * 1024,
        max_expansion: float = 50.0,
        cancel_token: CancelToken | None = None,
    ) -> Downloaded:
        """Bring the artifact to a local path or an object store, whole and verified, or not at all.

        :param destination: a path, or a URL such as ``s3://conn@bucket/key``; with a closing slash
            a directory, into which it is unpacked.
        :param overwrite: replace what is there; else only the artifact itself may be there.
        :param verify: compare the checksum; the size is always compared.
        :param extract: unpack into the local directory ``destination``.
        :param connections: how many may be tried at once; kept if they are faster than one.
        :param min_rate: bytes in a second below which a connection is given up for a new one.
        :param max_expansion: how many times its size it may unpack to.
        :param brake: stops the download when it is pulled.
        :raises ArtifactUnavailable: never produced, or removed by retention.
        :raises ChecksumMismatch: not what BuildPixel announced; what was written is deleted.
        """
        from airflow_provider_buildpixel.downloads.job import DownloadOptions
        from airflow_provider_buildpixel.hooks import downloads  # loads file systems

        place = downloads.parse_destination(
            destination, extract=extract, max_expansion=max_expansion, verify=verify
        )
        options = DownloadOptions(overwrite, verify, connections, min_rate)
        return downloads.download(self, build_id, place, options, cancel_token)

    def wait_for_build(
        self,
        build_id: str,
        timeout: float | None = None,
        on_log: Callable[[LogLine], None] | None = None,
        *,
        poll_interval: float = 30.0,
        channel: str | None = None,
    ) -> Build:
        """Wait for a build to end and give it, whatever its end is.

        Listens over Socket.IO and reads over REST; polls while there is no live channel.

        :param timeout: seconds.
        :param on_log: called with each line of the build's log.
        :param poll_interval: seconds between reads while polling.
        :param channel: ``auto``, ``socketio`` or ``polling``; by default the connection's.
        :raises BuildTimeout: it did not end in time; it goes on.
        :raises InvalidRequest: a parameter makes no sense.
        """
        from airflow_provider_buildpixel.waits.actions import Done
        from airflow_provider_buildpixel.waits.blocking import wait_for_build  # loads Socket.IO

        wait = hook_wait(
            build_id,
            channel=channel or self.settings.channel,
            poll_interval=poll_interval,
            timeout=timeout,
            now=time.time(),
            stream="all" if on_log else None,
        )
        end = wait_for_build(self.client, wait, log_line_callback(on_log))
        if isinstance(end, Done):
            return end.build
        build = None
        with suppress(BuildPixelError):  # it may just have ended
            build = self.client.attempt(endpoints.get_build(build_id))
        return ended_or_timeout(build_id, build, timeout)
