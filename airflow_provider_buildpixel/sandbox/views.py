"""How things look over the API, under each reading of the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.clock import iso, iso_or_none
from airflow_provider_buildpixel.sandbox.model import TERMINAL
from airflow_provider_buildpixel.sandbox.variants import Variants

if TYPE_CHECKING:
    from airflow_provider_buildpixel.sandbox.model import Build, LogLine, Project, Token

LINES_SHOWN = 50
BRIEF = frozenset({"commitMessage", "ueVersion", "lastBuildAt", "lastBuildStatus", "repoLink"})


def dressed(variants: Variants, fields: dict[str, Any]) -> dict[str, Any]:
    """Return an object as it is sent, perhaps with fields that nobody heard of."""
    if variants.extra_fields == "none":
        return fields
    return {**fields, "_links": {"self": {"href": "/"}}, "revision": 7, "labels": ["a", None]}


def identity(variants: Variants, token: Token) -> dict[str, Any]:
    """Return the answer of GET /auth/me."""
    user = {"id": token.user_id, "email": f"{token.role}@example.com", "name": token.role.title()}
    membership = {"role": token.role}
    whole = {
        "user": user,
        "organization": _organization_core(token),
        "membership": membership,
    }
    return dressed(variants, whole)


def _organization_core(token: Token) -> dict[str, Any]:
    organization = token.organization
    return {
        "id": organization.id,
        "name": organization.name,
        "slug": organization.slug,
        "plan": organization.plan,
    }


def organization(variants: Variants, token: Token) -> dict[str, Any]:
    """Return the organization after a change."""
    organization = token.organization
    fields = {
        **_organization_core(token),
        "defaultProjectSettings": organization.defaults,
        "integrations": {
            **organization.integrations,
            "github": organization.github,
            "perforce": organization.perforce is not None,
        },
    }
    return dressed(variants, fields)


def project_item(variants: Variants, project: Project, at: float) -> dict[str, Any]:
    """Return a project as it stands in the list."""
    last = project.last_build
    fields = {
        "id": project.id,
        "name": project.name,
        "sourceControl": project.source_control,
        "repoLink": project.repo_link,
        "lastBuildAt": iso(last.created_at) if last else None,
        "lastBuildStatus": last.status_at(at) if last else None,
    }
    return dressed(variants, _brief(variants, fields))


def project_detail(variants: Variants, project: Project, at: float) -> dict[str, Any]:
    """Return a project with its build settings and what was detected."""
    usual = Variants()
    fields = project_item(usual, project, at)
    fields |= {"description": project.description, "createdAt": iso(project.created_at)}
    settings = [setting_view(variants, setting) for setting in project.settings.values()]
    if variants.project_settings == "page":
        fields["buildSettings"] = {"items": settings, "nextCursor": None}
    elif variants.project_settings != "none":
        fields[variants.project_settings] = settings
    return dressed(variants, fields | _uproject(variants, project))


def _uproject(variants: Variants, project: Project) -> dict[str, Any]:
    path = project.uproject_path
    found = {"path": path, "name": path.rpartition("/")[2], "engineAssociation": "5.4"}
    match variants.project_uproject:
        case "none":
            return {}
        case "uprojectPath":
            return {"uprojectPath": path}
        case "uprojects":
            return {"uprojects": [found]}
        case name:
            return {name: found}


def setting_view(variants: Variants, setting: dict[str, Any]) -> dict[str, Any]:
    """Return a build setting."""
    return dressed(variants, dict(setting))


def build_item(variants: Variants, build: Build, at: float) -> dict[str, Any]:
    """Return a build as it stands in the list."""
    return dressed(variants, _brief(variants, _build_fields(variants, build, at)))


def build_detail(variants: Variants, build: Build, at: float) -> dict[str, Any]:
    """Return a build with its recent log lines."""
    fields = _build_fields(variants, build, at)
    if variants.log_field != "none":
        fields[variants.log_field] = _logs(variants, build, at)
    return dressed(variants, fields)


def build_plain(variants: Variants, build: Build, at: float) -> dict[str, Any]:
    """Return a build without its log, as events and trigger answers have it."""
    return dressed(variants, _build_fields(variants, build, at))


def _build_fields(variants: Variants, build: Build, at: float) -> dict[str, Any]:
    setting = build.setting
    fields = {
        "id": build.id,
        "projectId": build.project.id,
        "buildSettingId": setting["id"],
        "status": build.status_at(at),
        "platform": setting["platform"],
        "buildType": setting["buildType"],
        **_source(variants, build),
        "commitMessage": build.commit_message,
        "ueVersion": setting["ueVersion"],
        "triggeredBy": build.triggered_by,
        "createdAt": iso(build.created_at),
        **_ending(variants, build, at),
    }
    if setting["autoDeploy"]:
        fields["autoDeployStatus"] = _deploy_status(build, at)
    return fields


def _source(variants: Variants, build: Build) -> dict[str, Any]:
    if build.changelist is None:
        given = variants.commit_echo == "given" and build.given_commit
        return {"branch": build.branch, "commit": given or build.commit}
    stream = {"branch": None, "streamPath": build.branch}
    if variants.stream_field == "branch":
        stream = {"branch": build.branch}
    elif variants.stream_field == "both":
        stream = {"branch": build.branch, "streamPath": build.branch}
    as_text = variants.changelist_type == "str" or variants.changelist_field == "commit"
    number = str(build.changelist) if as_text else build.changelist
    return {**stream, "commit": None, variants.changelist_field: number}


def _ending(variants: Variants, build: Build, at: float) -> dict[str, Any]:
    ended = build.finished_at is not None and build.finished_at <= at
    if not ended and variants.open_fields == "absent":
        return {}
    finished_at = build.finished_at if ended else None
    return {"finishedAt": iso_or_none(finished_at), "durationMs": _duration(variants, build, at)}


def _duration(variants: Variants, build: Build, at: float) -> int | None:
    if build.finished_at is None or build.finished_at > at:
        return None
    begun = build.created_at if variants.duration == "whole" else build.started_at
    return 0 if begun is None else int((build.finished_at - begun) * 1000)


def _deploy_status(build: Build, at: float) -> str | None:
    status = build.status_at(at)
    if status == "complete":
        return build.plan.deploy
    return None if status in TERMINAL else "pending"


def _brief(variants: Variants, fields: dict[str, Any]) -> dict[str, Any]:
    if variants.list_items == "full":
        return fields
    return {name: value for name, value in fields.items() if name not in BRIEF}


def log_line(line: LogLine) -> dict[str, Any]:
    """Return a log line as an object."""
    return {"timestamp": iso(line.at), "level": line.level, "message": line.message}


def _logs(variants: Variants, build: Build, at: float) -> Any:
    lines = [line for line in build.logs if line.at <= at][-LINES_SHOWN:]
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


def status_event(variants: Variants, build: Build, at: float, status: str) -> dict[str, Any]:
    """Return the payload of build:status."""
    told = {"buildId": build.id, "status": status}
    if variants.status_payload == "full":
        return {**_build_fields(variants, build, at), **told, "updatedAt": iso(at)}
    if variants.status_payload == "nested":
        return {**told, "build": build_plain(variants, build, at)}
    return told


def log_event(build: Build, line: LogLine) -> dict[str, Any]:
    """Return the payload of build:log."""
    return {"buildId": build.id, **log_line(line)}
