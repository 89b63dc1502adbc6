"""JSON payloads of responses, events and webhooks, under each variant of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.world.clock import iso, iso_or_none
from airflow_provider_buildpixel.sandbox.world.model import TERMINAL

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.world.model import (
        StoredBuild,
        StoredLogLine,
        StoredProject,
        Token,
    )

RECENT_LOG_LINES = 50
MINIMAL_FIELDS = ("id", "name", "status")
OPTIONAL_FIELDS = frozenset(
    {"commitMessage", "ueVersion", "lastBuildAt", "lastBuildStatus", "repoLink"}
)


def with_extra_fields(variants: Variants, fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object as sent, with undocumented fields if the variant has them."""
    if variants.extra_fields == "none":
        return fields
    return {**fields, "_links": {"self": {"href": "/"}}, "revision": 7, "labels": ["a", None]}


def identity(variants: Variants, token: Token) -> dict[str, Any]:
    """Return the body of GET /auth/me."""
    user = {"id": token.user_id, "email": f"{token.role}@example.com", "name": token.role.title()}
    fields = {
        "user": user,
        "organization": _organization_summary(token),
        "membership": {"role": token.role},
    }
    return with_extra_fields(variants, fields)


def _organization_summary(token: Token) -> dict[str, Any]:
    organization = token.organization
    return {
        "id": organization.id,
        "name": organization.name,
        "slug": organization.slug,
        "plan": organization.plan,
    }


def organization(variants: Variants, token: Token) -> dict[str, Any]:
    """Return the body of a changed organization."""
    organization = token.organization
    fields = {
        **_organization_summary(token),
        "defaultProjectSettings": organization.defaults,
        "integrations": {
            **organization.integrations,
            "github": organization.github,
            "perforce": organization.perforce is not None,
        },
    }
    return with_extra_fields(variants, fields)


def project_item(variants: Variants, project: StoredProject, at: float) -> dict[str, Any]:
    """Return a project as a list item."""
    last = project.last_build
    fields = {
        "id": project.id,
        "name": project.name,
        "sourceControl": project.source_control,
        "repoLink": project.repo_link,
        "lastBuildAt": iso(last.created_at) if last else None,
        "lastBuildStatus": last.status_at(at) if last else None,
    }
    return with_extra_fields(variants, _list_item(variants, fields))


def project_detail(variants: Variants, project: StoredProject, at: float) -> dict[str, Any]:
    """Return a project with its build settings and the detected .uproject."""
    fields = project_item(Variants(), project, at)
    fields |= {"description": project.description, "createdAt": iso(project.created_at)}
    settings = [setting_payload(variants, setting) for setting in project.settings.values()]
    if variants.project_settings == "page":
        fields["buildSettings"] = {"items": settings, "nextCursor": None}
    elif variants.project_settings != "none":
        fields[variants.project_settings] = settings
    return with_extra_fields(variants, fields | _uproject(variants, project))


def _uproject(variants: Variants, project: StoredProject) -> dict[str, Any]:
    path = project.uproject_path
    detected = {"path": path, "name": path.rpartition("/")[2], "engineAssociation": "5.4"}
    match variants.project_uproject:
        case "none":
            return {}
        case "uprojectPath":
            return {"uprojectPath": path}
        case "uprojects":
            return {"uprojects": [detected]}
        case name:
            return {name: detected}


def setting_payload(variants: Variants, setting: dict[str, Any]) -> dict[str, Any]:
    """Return a build setting."""
    return with_extra_fields(variants, dict(setting))


def build_item(variants: Variants, build: StoredBuild, at: float) -> dict[str, Any]:
    """Return a build as a list item."""
    return with_extra_fields(variants, _list_item(variants, _build_fields(variants, build, at)))


def build_detail(variants: Variants, build: StoredBuild, at: float) -> dict[str, Any]:
    """Return a build with its recent log lines."""
    fields = _build_fields(variants, build, at)
    if variants.log_field != "none":
        fields[variants.log_field] = _recent_logs(variants, build, at)
    return with_extra_fields(variants, fields)


def build_without_log(variants: Variants, build: StoredBuild, at: float) -> dict[str, Any]:
    """Return a build without its log, as in events and trigger responses."""
    return with_extra_fields(variants, _build_fields(variants, build, at))


def _build_fields(variants: Variants, build: StoredBuild, at: float) -> dict[str, Any]:
    setting = build.setting
    fields = {
        "id": build.id,
        "projectId": build.project.id,
        "buildSettingId": setting["id"],
        "status": build.status_at(at),
        "platform": setting["platform"],
        "buildType": setting["buildType"],
        **_source_fields(variants, build),
        "commitMessage": build.commit_message,
        "ueVersion": setting["ueVersion"],
        "triggeredBy": build.triggered_by,
        "createdAt": iso(build.created_at),
        **_end_fields(variants, build, at),
    }
    if setting["autoDeploy"]:
        fields["autoDeployStatus"] = _deploy_status(build, at)
    return fields


def _source_fields(variants: Variants, build: StoredBuild) -> dict[str, Any]:
    if build.changelist is None:
        given = variants.commit_echo == "given" and build.given_commit
        return {"branch": build.branch, "commit": given or build.commit}
    as_text = variants.changelist_type == "str" or variants.changelist_field == "commit"
    number = str(build.changelist) if as_text else build.changelist
    return {**_stream(variants, build), "commit": None, variants.changelist_field: number}


def _stream(variants: Variants, build: StoredBuild) -> dict[str, Any]:
    match variants.stream_field:
        case "none":
            return {"branch": None}
        case "branch":
            return {"branch": build.branch}
        case "both":
            return {"branch": build.branch, "streamPath": build.branch}
        case _:
            return {"branch": None, "streamPath": build.branch}


def _end_fields(variants: Variants, build: StoredBuild, at: float) -> dict[str, Any]:
    ended = build.finished_at is not None and build.finished_at <= at
    if not ended and variants.open_fields == "absent":
        return {}
    finished_at = build.finished_at if ended else None
    return {"finishedAt": iso_or_none(finished_at), "durationMs": _duration_ms(variants, build, at)}


def _duration_ms(variants: Variants, build: StoredBuild, at: float) -> int | None:
    if build.finished_at is None or build.finished_at > at:
        return None
    started_at = build.created_at if variants.duration == "whole" else build.started_at
    return 0 if started_at is None else int((build.finished_at - started_at) * 1000)


def _deploy_status(build: StoredBuild, at: float) -> str | None:
    status = build.status_at(at)
    if status == "complete":
        return build.plan.deploy
    return None if status in TERMINAL else "pending"


def _list_item(variants: Variants, fields: dict[str, Any]) -> dict[str, Any]:
    if variants.list_items == "full":
        return fields
    if variants.list_items == "minimal":
        return {name: fields[name] for name in MINIMAL_FIELDS if name in fields}
    return {name: value for name, value in fields.items() if name not in OPTIONAL_FIELDS}


def log_line(line: StoredLogLine) -> dict[str, Any]:
    """Return a log line as a JSON object."""
    return {"timestamp": iso(line.at), "level": line.level, "message": line.message}


def _recent_logs(variants: Variants, build: StoredBuild, at: float) -> Any:
    lines = [line for line in build.logs if line.at <= at][-RECENT_LOG_LINES:]
    objects = [log_line(line) for line in lines]
    match variants.log_shape:
        case "strings":
            return [line.message for line in lines]
        case "string":
            return "\n".join(line.message for line in lines)
        case "page":
            return {"items": objects, "nextCursor": None}
        case "lines":
            return {"lines": [line.message for line in lines], "truncated": False}
        case "newest-first":
            return objects[::-1]
        case _:
            return objects


def status_event(variants: Variants, build: StoredBuild, at: float, status: str) -> dict[str, Any]:
    """Return the payload of the event build:status."""
    fields = {"buildId": build.id, "status": status}
    if variants.status_payload == "full":
        return {**_build_fields(variants, build, at), **fields, "updatedAt": iso(at)}
    if variants.status_payload == "nested":
        return {**fields, "build": build_without_log(variants, build, at)}
    return fields


def log_event(build: StoredBuild, line: StoredLogLine) -> dict[str, Any]:
    """Return the payload of the event build:log."""
    return {"buildId": build.id, **log_line(line)}
