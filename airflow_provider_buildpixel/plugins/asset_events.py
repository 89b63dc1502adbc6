"""Creates asset events and Dag runs for ended builds. Uses Airflow's internals.

Airflow's documented interface is its REST API, for which the API server would need a user's
password. The internals used instead are the same from 3.0 to 3.3: ``asset_manager``,
``trigger_dag`` and four columns. Both results are idempotent across processes and retries.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.assets.manager import asset_manager
from airflow.exceptions import DagNotFound, DagRunAlreadyExists
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import String, cast, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

import airflow_provider_buildpixel.exceptions  # noqa: F401  # adds Airflow's base classes
from airflow_provider_buildpixel.asset_events import webhook
from airflow_provider_buildpixel.assets import build_uri

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.webhook import WebhookAnswer


LOOK_BACK = timedelta(days=1)
"""Extra look-back when searching for an existing asset event of a build."""

log = logging.getLogger(__name__)


def record_end(settings: Settings, build: Build) -> WebhookAnswer:
    """Create the runs and asset events of an ended build that do not exist yet."""
    payload = webhook.event_payload(build, settings.build_page_url(build.id, build.project_id))
    try:
        created = [_start_run(dag_id, build, payload) for dag_id in settings.run_per_build]
        created += [_add_asset_event(asset_id, build, payload) for asset_id in _asset_ids(build)]
    except (OperationalError, PoolExhausted) as error:
        # The error's text contains the statement. The next attempt creates what is missing.
        log.warning(
            "The end of %s could not be stored in the database: %s",
            build.title,
            type(error).__name__,
        )
        return webhook.RETRY_LATER
    if not created:
        log.info("%s has ended, and no Dag is scheduled on it", build.title)
        return webhook.IGNORED
    return webhook.ACCEPTED if any(created) else webhook.DUPLICATE


def _start_run(dag_id: str, build: Build, conf: dict[str, Any]) -> bool:
    """Start the Dag run of a build; return whether it is new."""
    run_id = webhook.run_id(build.id)
    try:
        _require_dag(dag_id)
        trigger_dag(dag_id, triggered_by=DagRunTriggeredByType.REST_API, run_id=run_id, conf=conf)
    except DagRunAlreadyExists:
        return False
    except IntegrityError:
        if DagRun.find_duplicate(dag_id=dag_id, run_id=run_id) is None:
            raise
        return False  # another process has just started it
    except (DagNotFound, ValueError) as error:  # no such Dag, or it rejects the run
        log.error(  # noqa: TRY400  # the message says enough
            "run_per_build names the Dag %s, which cannot be run: %s", dag_id, error
        )
        return False
    return True


def _require_dag(dag_id: str) -> None:
    """Raise if the Dag does not exist or its file is gone: its run would stay queued forever.

    :raises DagNotFound: the Dag cannot be run.
    """
    with create_session() as session:
        query = select(DagModel.dag_id).where(DagModel.dag_id == dag_id, ~DagModel.is_stale)
        if session.scalar(query) is None:
            raise DagNotFound(f"Dag {dag_id!r} does not exist")


def _asset_ids(build: Build) -> list[int]:
    """Return the ids of the build setting's assets: several names may share one URI."""
    if build.project_id is None or build.build_setting_id is None:
        return []
    uri = build_uri(build.project_id, build.build_setting_id)
    with create_session() as session:
        query = select(AssetModel.id).where(AssetModel.uri == uri, AssetModel.active.has())
        return list(session.scalars(query.order_by(AssetModel.id)))


def _add_asset_event(asset_id: int, build: Build, extra: dict[str, Any]) -> bool:
    """Register an event of an asset; return whether it is new."""
    with create_session() as session:
        # Changes nothing, but locks the row on every database: search and insert become one step.
        lock = update(AssetModel).where(AssetModel.id == asset_id).values(id=AssetModel.id)
        session.execute(lock.execution_options(synchronize_session=False))
        if any(
            webhook.reports_build(known, build) for known in _known_extras(session, asset_id, build)
        ):
            return False
        asset = session.get(AssetModel, asset_id)
        if asset is None:  # its last Dag has just been removed
            return False
        asset_manager.register_asset_change(asset=asset, extra=extra, session=session)
        return True


def _known_extras(session: Any, asset_id: int, build: Build) -> list[Any]:
    """Return the extras of the asset's events that contain the build's id."""
    query = select(AssetEvent.extra).where(
        AssetEvent.asset_id == asset_id,
        cast(AssetEvent.extra, String).contains(f'"{build.id}"', autoescape=True),
    )
    if build.finished_at is not None:  # no event is older than the build's end
        query = query.where(AssetEvent.timestamp > build.finished_at - LOOK_BACK)
    return list(session.scalars(query))
