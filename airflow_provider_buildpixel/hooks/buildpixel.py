"""The blocking hook; both hooks are imported from this module."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_buildpixel import connection_form
from airflow_provider_buildpixel.api import endpoints, fields
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
    """Calls BuildPixel's REST API, blocking, with the requests library.

    All methods raise a :class:`~airflow_provider_buildpixel.exceptions.BuildPixelError` on failure.
    Reads are repeated for up to two minutes after temporary failures. A request that changes
    something is repeated only if it certainly did not run, for example after status 429. If the
    token is rejected, the connection is looked up again, and a new token in it is used.

    :param buildpixel_conn_id: id of an Airflow connection of type ``buildpixel``.
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
        """Return the extra fields of the connection form for Airflow 2.11 to 3.1.

        Later versions read them from the provider info.
        """
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels, placeholders and hidden fields of the form for Airflow 2.11 to 3.1."""
        return connection_form.behaviour()

    @cached_property
    def settings(self) -> Settings:
        """The parsed Airflow connection, looked up on first use."""
        settings = self._load_settings()
        warn_if_unverified(settings, self.buildpixel_conn_id, self.log)
        return settings

    @cached_property
    def client(self) -> Client:
        """The REST client of this hook, created on first use."""
        from airflow_provider_buildpixel.api.blocking import Client

        return Client(self.settings, reload_settings=self._load_settings)

    def _load_settings(self) -> Settings:
        return parse_connection(self.get_connection(self.buildpixel_conn_id))

    def get_conn(self) -> requests.Session:
        """Return the authenticated session; it sends the token to BuildPixel's host only."""
        return self.client.session

    def close(self) -> None:
        """Close the HTTP connections; a later request opens new ones."""
        if "client" in self.__dict__:
            self.client.close()

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the token works, and a message for the user (``GET /auth/me``).

        The request is not repeated. The message names user, organization, plan and role, or the
        error. It contains a warning if the role cannot trigger builds.
        """
        try:
            identity = self.client.attempt(endpoints.get_identity())
        except BuildPixelError as error:
            return False, str(error)
        finally:
            self.close()
        return True, connections.connection_message(identity)

    # Identity and organization

    def get_identity(self) -> Identity:
        """Return the user, organization and role of the token (``GET /auth/me``)."""
        return self.client.perform(endpoints.get_identity())

    def update_organization(self, organization_id: str, **changes: Any) -> Any:
        """Change an organization (``PATCH /organizations/:id``).

        :param organization_id: id of the organization.
        :param changes: fields to change, in snake_case or camelCase; None values are left out.
        :return: the response's JSON.
        """
        return self.client.perform(
            endpoints.update_organization(organization_id, fields.request_body(changes))
        )

    def update_perforce(
        self, organization_id: str, *, server_url: str, user_name: str, ticket: str
    ) -> Any:
        """Store Perforce credentials (``PATCH /organizations/:id/perforce``).

        BuildPixel verifies the credentials before it stores them.

        :param organization_id: id of the organization.
        :param server_url: address of the Perforce server, such as
            ``ssl:perforce.example.com:1666``.
        :param user_name: the Perforce user.
        :param ticket: a login ticket of that user.
        :return: the response's JSON.
        :raises InvalidRequest: Perforce rejected the credentials.
        """
        body = {"serverUrl": server_url, "userName": user_name, "ticket": ticket}
        return self.client.perform(endpoints.update_perforce(organization_id, body))

    def disconnect_github(self, organization_id: str) -> None:
        """Disconnect the GitHub App (``DELETE /organizations/:id/integrations/github``).

        :param organization_id: id of the organization.
        """
        self.client.perform(endpoints.disconnect_github(organization_id))

    # Projects

    def list_projects(self, source_control: str | None = None) -> Iterator[Project]:
        """Yield all projects; each page is requested when it is needed (``GET /projects``).

        :param source_control: ``github`` or ``perforce``; None for both.
        """
        return self.client.iter_items(endpoints.list_projects(source_control))

    def get_project(self, project_id: str) -> Project:
        """Return a project (``GET /projects/:id``).

        :raises NotFound: the project does not exist, or the token has no access to it.
        """
        return self.client.perform(endpoints.get_project(project_id))

    def find_project(self, name_or_id: str) -> Project:
        """Return the project with an id or exact name (``GET /projects/:id``, ``GET /projects``).

        :param name_or_id: the name or id; an id takes precedence.
        :raises NotFound: no project matches; the message lists the existing ones.
        :raises InvalidRequest: several projects have this name, or the argument is empty.
        """
        from airflow_provider_buildpixel.builds import lookup

        name_or_id = lookup.checked_project(name_or_id)
        if lookup.looks_like_id(name_or_id):
            try:
                return self.get_project(name_or_id)
            except NotFound:
                self.log.debug("No project has the id %s; searching by name", name_or_id)
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
        """Add and return a project from a GitHub repository (``POST /projects/add-repo``).

        :param name: name of the project.
        :param installation_id: id of the GitHub App's installation.
        :param repo_full_name: owner and name of the repository, such as ``my-org/my-game``.
        :param default_branch: the branch to build by default.
        :param uproject_path: path of the ``.uproject`` file in the repository.
        """
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
        """Add and return a project from a Perforce depot (``POST /projects/add-perforce``).

        :param name: name of the project.
        :param depot: the depot, such as ``//depot``.
        :param stream_path: the stream, such as ``//depot/main``.
        :param uproject_path: path of the ``.uproject`` file in the stream.
        """
        body = {
            "name": name,
            "depot": depot,
            "streamPath": stream_path,
            "uprojectPath": uproject_path,
        }
        return self.client.perform(endpoints.add_project("add-perforce", fields.request_body(body)))

    def update_project(self, project_id: str, **changes: Any) -> Project:
        """Change and return a project (``PATCH /projects/:id``).

        The project is read again (``GET /projects/:id``) if the response does not contain it.

        :param project_id: id of the project.
        :param changes: ``name`` or ``description``; the source control cannot be changed.
        """
        changed = self.client.perform(
            endpoints.update_project(project_id, fields.request_body(changes))
        )
        return changed or self.get_project(project_id)

    def delete_project(self, project_id: str) -> None:
        """Delete a project and its build settings (``DELETE /projects/:id``).

        Its past builds stay readable by id.
        """
        self.client.perform(endpoints.delete_project(project_id))

    # Build settings

    def list_build_settings(self, project_id: str) -> Iterator[BuildSetting]:
        """Yield the build settings of a project (``GET /projects/:id/build-settings``).

        :param project_id: id of the project.
        """
        return self.client.iter_items(endpoints.list_build_settings(project_id))

    def get_build_setting(self, project_id: str, build_setting_id: str) -> BuildSetting:
        """Return a build setting (``GET /projects/:id/build-settings/:settingId``).

        :raises NotFound: the build setting or its project does not exist.
        """
        return self.client.perform(endpoints.get_build_setting(project_id, build_setting_id))

    def find_build_setting(
        self, project_id: str, name_or_selector: str | Mapping[str, Any]
    ) -> BuildSetting:
        """Return the one build setting with an id, or with the given fields.

        The build settings of the project are listed (``GET /projects/:id/build-settings``) and
        compared.

        :param project_id: id of the project.
        :param name_or_selector: an id, or fields such as ``{"platform": "Win64", "branch":
            "main"}``.
        :raises NotFound: none matches; the message lists the existing ones.
        :raises InvalidRequest: several match, or the argument is empty or invalid.
        """
        from airflow_provider_buildpixel.builds import lookup

        selector = lookup.parse_selector(name_or_selector)
        return lookup.find_setting(selector, self.list_build_settings(project_id))

    def create_build_setting(
        self, project_id: str, *, platform: str, build_type: str, ue_version: str, **more: Any
    ) -> BuildSetting:
        """Create and return a build setting (``POST /projects/:id/build-settings``).

        :param project_id: id of the project.
        :param platform: such as ``Win64``.
        :param build_type: such as ``Shipping``.
        :param ue_version: version of Unreal Engine, such as ``5.4``.
        :param more: ``trigger``, ``branch`` (GitHub) or ``stream_path`` (Perforce), and optional
            fields, in snake_case or camelCase.
        """
        body = {"platform": platform, "buildType": build_type, "ueVersion": ue_version, **more}
        return self.client.perform(
            endpoints.create_build_setting(project_id, fields.request_body(body))
        )

    def update_build_setting(
        self, project_id: str, build_setting_id: str, **changes: Any
    ) -> BuildSetting:
        """Change a build setting (``PATCH /projects/:id/build-settings/:settingId``).

        The changed build setting is returned. It is read again (``GET`` on the same path) if the
        response does not contain it.

        :param project_id: id of the project.
        :param build_setting_id: id of the build setting.
        :param changes: fields to change, in snake_case or camelCase; None values are left out.
        """
        body = fields.request_body(changes)
        call = endpoints.update_build_setting(project_id, build_setting_id, body)
        return self.client.perform(call) or self.get_build_setting(project_id, build_setting_id)

    def delete_build_setting(self, project_id: str, build_setting_id: str) -> None:
        """Delete a build setting (``DELETE /projects/:id/build-settings/:settingId``).

        Its past builds stay readable by id.
        """
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

        It supersedes, that is cancels, a live build of the same project, branch, platform and build
        type. If the response is lost, the request is not repeated, and it is unknown whether a
        build was started; ``BuildPixelTriggerBuildOperator`` handles that case.

        :param project_id: id of the project.
        :param build_setting_id: id of the build setting.
        :param branch: Git branch or Perforce stream; by default that of the build setting.
        :param commit: Git commit; by default the newest.
        :param changelist: Perforce changelist; by default the newest.
        :return: the build with its ids and the status ``pending``; :meth:`get_build` reads all
            fields.
        """
        call = endpoints.trigger_build(
            project_id, build_setting_id, branch=branch, commit=commit, changelist=changelist
        )
        return self.client.perform(call)

    def get_build(self, build_id: str) -> Build:
        """Return a build (``GET /builds/:id``).

        :raises NotFound: the build does not exist, or the token has no access to it.
        """
        return self.client.perform(endpoints.get_build(build_id))

    def list_builds(
        self,
        project_id: str | None = None,
        build_setting_id: str | None = None,
        status: str | None = None,
        platform: str | None = None,
        build_type: str | None = None,
        branch: str | None = None,
    ) -> Iterator[Build]:
        """Yield the builds that match all given filters (``GET /builds``).

        The order is unspecified. Each page is requested when it is needed.

        :param project_id: id of a project.
        :param build_setting_id: id of a build setting.
        :param status: such as ``running``.
        :param platform: such as ``Win64``.
        :param build_type: such as ``Shipping``.
        :param branch: Git branch or Perforce stream.
        """
        call = endpoints.list_builds(
            project_id=project_id,
            build_setting_id=build_setting_id,
            status=status,
            platform=platform,
            build_type=build_type,
            branch=branch,
        )
        return self.client.iter_items(call)

    def get_artifact(self, build_id: str) -> Artifact:
        """Return signed URL, size and MD5 of a build's artifact (``GET /builds/:id/download``).

        The URL is a secret, and expires.

        :raises ArtifactUnavailable: the build produced no artifact, or retention has removed it.
        """
        try:
            return self.client.perform(endpoints.get_artifact(build_id))
        except NotFound as error:
            from airflow_provider_buildpixel.downloads.artifacts import artifact_unavailable

            raise artifact_unavailable(build_id, error) from error

    def download_artifact(  # noqa: PLR0913  # options of the download are parameters
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
        """Download the artifact of a build to a local path or an object store.

        The artifact appears at the destination only when it is complete and verified. Its signed
        URL comes from ``GET /builds/:id/download``, which is repeated when the URL expires.

        :param build_id: id of the build.
        :param destination: a path, or a URL such as ``s3://conn@bucket/key``. With a trailing slash
            it is a local directory, into which the artifact is unpacked.
        :param overwrite: replace what exists at the destination; otherwise only the same artifact
            may be there.
        :param verify: compare the MD5; the size is always compared.
        :param extract: unpack into the local directory ``destination``.
        :param connections: maximum number of parallel connections; several are used only if they
            are faster than one.
        :param min_rate: bytes per second below which a connection is replaced by a new one.
        :param max_expansion: maximum size of the unpacked files, as a multiple of the artifact's
            size.
        :param cancel_token: cancels the download from a signal handler or another thread.
        :raises ArtifactUnavailable: the build produced no artifact, or retention has removed it.
        :raises ChecksumMismatch: the data does not match MD5 or size; what was written is deleted.
        """
        from airflow_provider_buildpixel.downloads.cancel import CancelToken
        from airflow_provider_buildpixel.downloads.job import DownloadJob
        from airflow_provider_buildpixel.hooks import downloads, lineage  # imports file systems

        job = DownloadJob(
            build_id,
            lambda: downloads.mask_signed_url(self.get_artifact(build_id)),
            downloads.parse_destination(
                destination, extract=extract, max_expansion=max_expansion, verify=verify
            ),
            self.settings,
            lambda line: self.log.info("%s", line),
            cancel_token or CancelToken(),
            overwrite=overwrite,
            verify=verify,
            connections=connections,
            min_rate=min_rate,
        )
        downloaded = downloads.download(job, self.get_build)
        lineage.report_download(self, lambda: self.get_build(build_id), downloaded.path)
        return downloaded

    def wait_for_build(
        self,
        build_id: str,
        timeout: float | None = None,
        on_log: Callable[[LogLine], None] | None = None,
        *,
        poll_interval: float = 30.0,
        channel: str | None = None,
    ) -> Build:
        """Wait until a build has ended, and return it, whether it succeeded or not.

        The wait listens for events over Socket.IO and reads the status over REST (``GET
        /builds/:id``). It polls while Socket.IO is disconnected.

        :param build_id: id of the build.
        :param timeout: seconds; None waits without a limit.
        :param on_log: called with each line of the build's log.
        :param poll_interval: seconds between reads while polling.
        :param channel: ``auto``, ``socketio`` or ``polling``; by default that of the connection.
        :raises BuildTimeout: the build did not end in time; it continues.
        :raises InvalidRequest: a parameter is invalid.
        """
        from airflow_provider_buildpixel.waits.actions import Done
        from airflow_provider_buildpixel.waits.blocking import wait_for_build  # imports Socket.IO

        wait = hook_wait(
            build_id,
            channel=channel or self.settings.channel,
            poll_interval=poll_interval,
            timeout=timeout,
            now=time.time(),
            stream_logs="all" if on_log else None,
        )
        end = wait_for_build(self.client, wait, log_line_callback(on_log))
        if isinstance(end, Done):
            return end.build
        build = None
        with suppress(BuildPixelError):  # it may have ended after the last poll
            build = self.client.attempt(endpoints.get_build(build_id))
        return ended_or_timeout(build_id, build, timeout)
