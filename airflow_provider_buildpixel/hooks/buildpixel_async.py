"""The asyncio hook: the same methods as the blocking one, as coroutines and async iterators."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_provider_buildpixel.api import endpoints, fields
from airflow_provider_buildpixel.builds import lookup, request
from airflow_provider_buildpixel.downloads import artifacts
from airflow_provider_buildpixel.exceptions import BuildPixelError, NotFound
from airflow_provider_buildpixel.hooks import connections
from airflow_provider_buildpixel.hooks.connections import get_settings_async, warn_if_unverified
from airflow_provider_buildpixel.waits.wait import (
    ended_or_timeout,
    hook_wait,
    log_line_callback,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from airflow_provider_buildpixel.api.aio import AsyncClient
    from airflow_provider_buildpixel.api.endpoints import Call
    from airflow_provider_buildpixel.api.model import (
        Artifact,
        Build,
        BuildSetting,
        Identity,
        Page,
        Project,
    )
    from airflow_provider_buildpixel.builds.logs import LogLine


T = TypeVar("T")
log = logging.getLogger(__name__)


class BuildPixelAsyncHook:
    """Talks to BuildPixel's REST API on an event loop, over aiohttp.

    It is an async context manager, and looks the connection up, off the loop, on first use. The
    methods raise, and repeat requests, as those of ``BuildPixelHook``.

    :param buildpixel_conn_id: the Airflow connection of type ``buildpixel``.
    """

    def __init__(self, buildpixel_conn_id: str = "buildpixel_default") -> None:
        self.buildpixel_conn_id = buildpixel_conn_id
        self._client: AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open nothing yet: the first request does."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give back the HTTP connections."""
        await self.close()

    async def close(self) -> None:
        """Give back the HTTP connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def get_client(self) -> AsyncClient:
        """Give the client of all this hook's requests."""
        from airflow_provider_buildpixel.api.aio import AsyncClient  # light

        async with self._opening:
            if self._client is None:
                settings = await get_settings_async(self.buildpixel_conn_id)
                warn_if_unverified(settings, self.buildpixel_conn_id, log)
                self._client = AsyncClient(settings)
            return self._client

    async def _perform(self, call: Call[T]) -> T:
        return await (await self.get_client()).perform(call)

    async def _pages(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        async for member in (await self.get_client()).pages(call):
            yield member

    async def test_connection(self) -> tuple[bool, str]:
        """Say whom the token belongs to (``GET /auth/me``, tried once)."""
        try:
            client = await self.get_client()
            identity = await client.attempt(endpoints.get_identity())
        except BuildPixelError as error:
            return False, str(error)
        return True, connections.connection_message(identity)

    # Identity and organization

    async def get_identity(self) -> Identity:
        """Give user, organization and role of the token (``GET /auth/me``)."""
        return await self._perform(endpoints.get_identity())

    async def update_organization(self, organization_id: str, **changes: Any) -> Any:
        """Change an organization (``PATCH /organizations/:id``); give the answer's JSON."""
        return await self._perform(
            endpoints.update_organization(organization_id, fields.request_body(changes))
        )

    async def update_perforce(
        self, organization_id: str, *, server_url: str, user_name: str, ticket: str
    ) -> Any:
        """Store Perforce credentials (``PATCH /organizations/:id/perforce``).

        :raises InvalidRequest: BuildPixel tried them, and Perforce refused.
        """
        body = {"serverUrl": server_url, "userName": user_name, "ticket": ticket}
        return await self._perform(endpoints.update_perforce(organization_id, body))

    async def disconnect_github(self, organization_id: str) -> None:
        """Disconnect the GitHub App (``DELETE /organizations/:id/integrations/github``)."""
        await self._perform(endpoints.disconnect_github(organization_id))

    # Projects

    def list_projects(self, source_control: str | None = None) -> AsyncIterator[Project]:
        """Give all projects, lazily page by page (``GET /projects``).

        :param source_control: ``github`` or ``perforce``.
        """
        return self._pages(endpoints.list_projects(source_control))

    async def get_project(self, project_id: str) -> Project:
        """Give a project (``GET /projects/:id``)."""
        return await self._perform(endpoints.get_project(project_id))

    async def find_project(self, name_or_id: str) -> Project:
        """Find a project by id or exact name (``GET /projects/:id``, ``GET /projects``).

        :raises NotFound: none is called so; the message lists those there are.
        :raises InvalidRequest: several are, or nothing was given.
        """
        name_or_id = lookup.checked_project(name_or_id)
        if lookup.looks_like_id(name_or_id):
            try:
                return await self.get_project(name_or_id)
            except NotFound:
                log.debug("No project has the id %s; trying it as a name", name_or_id)
        projects = [project async for project in self.list_projects()]
        return lookup.find_project(name_or_id, projects)

    async def add_github_project(
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
        return await self._perform(endpoints.add_project("add-repo", fields.request_body(body)))

    async def add_perforce_project(
        self, name: str, *, depot: str, stream_path: str, uproject_path: str | None = None
    ) -> Project:
        """Add a project from Perforce (``POST /projects/add-perforce``)."""
        body = {
            "name": name,
            "depot": depot,
            "streamPath": stream_path,
            "uprojectPath": uproject_path,
        }
        return await self._perform(endpoints.add_project("add-perforce", fields.request_body(body)))

    async def update_project(self, project_id: str, **changes: Any) -> Project:
        """Change name or description (``PATCH /projects/:id``)."""
        changed = await self._perform(
            endpoints.update_project(project_id, fields.request_body(changes))
        )
        return changed or await self.get_project(project_id)

    async def delete_project(self, project_id: str) -> None:
        """Delete a project and its build settings (``DELETE /projects/:id``)."""
        await self._perform(endpoints.delete_project(project_id))

    # Build settings

    def list_build_settings(self, project_id: str) -> AsyncIterator[BuildSetting]:
        """Give a project's build settings (``GET /projects/:id/build-settings``)."""
        return self._pages(endpoints.list_build_settings(project_id))

    async def get_build_setting(self, project_id: str, build_setting_id: str) -> BuildSetting:
        """Give a build setting (``GET /projects/:id/build-settings/:settingId``)."""
        return await self._perform(endpoints.get_build_setting(project_id, build_setting_id))

    async def find_build_setting(
        self, project_id: str, name_or_selector: str | Mapping[str, Any]
    ) -> BuildSetting:
        """Find the one build setting of this id, or with these fields.

        :param name_or_selector: an id, or a mapping such as ``{"platform": "Win64"}``.
        :raises NotFound: none fits; the message lists those there are.
        :raises InvalidRequest: several fit.
        """
        selector = lookup.parse_selector(name_or_selector)
        settings = [setting async for setting in self.list_build_settings(project_id)]
        return lookup.find_setting(selector, settings)

    async def create_build_setting(
        self, project_id: str, *, platform: str, build_type: str, ue_version: str, **more: Any
    ) -> BuildSetting:
        """Create a build setting (``POST /projects/:id/build-settings``).

        :param more: ``trigger``, ``branch`` or ``stream_path``, and the optional fields.
        """
        body = {"platform": platform, "buildType": build_type, "ueVersion": ue_version, **more}
        return await self._perform(
            endpoints.create_build_setting(project_id, fields.request_body(body))
        )

    async def update_build_setting(
        self, project_id: str, build_setting_id: str, **changes: Any
    ) -> BuildSetting:
        """Change a build setting (``PATCH /projects/:id/build-settings/:settingId``)."""
        body = fields.request_body(changes)
        changed = await self._perform(
            endpoints.update_build_setting(project_id, build_setting_id, body)
        )
        return changed or await self.get_build_setting(project_id, build_setting_id)

    async def delete_build_setting(self, project_id: str, build_setting_id: str) -> None:
        """Delete a build setting (``DELETE /projects/:id/build-settings/:settingId``)."""
        await self._perform(endpoints.delete_build_setting(project_id, build_setting_id))

    # Builds

    async def trigger_build(
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
        return request.pending_build(await self._perform(call), project_id, build_setting_id)

    async def get_build(self, build_id: str) -> Build:
        """Give a build (``GET /builds/:id``)."""
        return await self._perform(endpoints.get_build(build_id))

    def list_builds(  # the documented filters
        self,
        project_id: str | None = None,
        build_setting_id: str | None = None,
        status: str | None = None,
        platform: str | None = None,
        build_type: str | None = None,
        branch: str | None = None,
    ) -> AsyncIterator[Build]:
        """Give the builds that fit, lazily page by page, in no certain order (``GET /builds``)."""
        call = endpoints.list_builds(
            project_id=project_id,
            build_setting_id=build_setting_id,
            status=status,
            platform=platform,
            build_type=build_type,
            branch=branch,
        )
        return self._pages(call)

    async def get_artifact(self, build_id: str) -> Artifact:
        """Give the signed URL, size and MD5 of the artifact (``GET /builds/:id/download``).

        :raises ArtifactUnavailable: never produced, or removed by retention.
        """
        try:
            return await self._perform(endpoints.get_artifact(build_id))
        except NotFound as error:
            raise artifacts.artifact_unavailable(build_id, error) from error

    async def wait_for_build(
        self,
        build_id: str,
        timeout: float | None = None,  # as the blocking hook's
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
        from airflow_provider_buildpixel.waits.monitor import monitor_for  # light

        settings = (await self.get_client()).settings
        wait = hook_wait(
            build_id,
            channel=channel or settings.channel,
            poll_interval=poll_interval,
            timeout=timeout,
            now=time.time(),
            stream="all" if on_log else None,
        )
        async with monitor_for(settings) as monitor:
            end = await monitor.wait(wait, log_line_callback(on_log))
        if isinstance(end, Done):
            return end.build
        build = None
        with suppress(BuildPixelError):  # it may just have ended
            build = await (await self.get_client()).attempt(endpoints.get_build(build_id))
        return ended_or_timeout(build_id, build, timeout)
