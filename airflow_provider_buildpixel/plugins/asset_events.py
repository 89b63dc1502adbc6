"""Finished builds as asset events and Dag runs: the one module that uses Airflow's internals.

Airflow's documented way in is its REST API, for which the API server would have to hold a user's
password. What is used instead has been the same from 3.0 to 3.3: ``asset_manager``,
``trigger_dag`` and four columns. Both ends are safe to reach twice, in any process, at any time.
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

from airflow_provider_buildpixel.asset_events import webhook
from airflow_provider_buildpixel.assets import build_uri

if TYPE_CHECKING:
    from airflow_provider_buildpixel.api.model import Build
    from airflow_provider_buildpixel.api.settings import Settings
    from airflow_provider_buildpixel.asset_events.webhook import WebhookAnswer


LOOK_BACK = timedelta(days=1)
"""How much further back than builds are news one of their events is looked for."""

log = logging.getLogger(__name__)


def record(settings: Settings, build: Build) -> WebhookAnswer:
    """Make what the connection asks for of a finished build, as far as it is not there yet."""
    told = webhook.event_payload(build, settings.build_page(build.id, build.project_id))
    try:
        new = [_start_run(dag_id, build, told) for dag_id in settings.run_per_build]
        new += [_add_asset_event(asset_id, build, told) for asset_id in _assets(build)]
    except (OperationalError, PoolExhausted) as error:
        # Its text would show the statement; the next attempt continues where this one ended.
        log.warning("The database did not take %s: %s", build.title, type(error).__name__)
        return webhook.LATER
    if not new:
        log.info("No Dag is scheduled by %s, which has ended", build.title)
        return webhook.IGNORED
    return webhook.ACCEPTED if any(new) else webhook.DUPLICATE


def _start_run(dag_id: str, build: Build, conf: dict[str, Any]) -> bool:
    """Start the build's run of a Dag; tell whether it is new."""
    run_id = webhook.run_id(build.id)
    try:
        _require_dag(dag_id)
        trigger_dag(dag_id, triggered_by=DagRunTriggeredByType.REST_API, run_id=run_id, conf=conf)
    except DagRunAlreadyExists:
        return False
    except IntegrityError:
        if DagRun.find_duplicate(dag_id=dag_id, run_id=run_id) is None:
            raise
        return False  # another process was faster
    except (DagNotFound, ValueError) as error:  # no such Dag, or it does not take such a run
        log.error("run_per_build names Dag %s, which cannot run: %s", dag_id, error)
        return False
    return True


def _require_dag(dag_id: str) -> None:
    """Refuse a Dag whose file is gone: its run would stay queued for ever."""
    with create_session() as session:
        wanted = select(DagModel.dag_id).where(DagModel.dag_id == dag_id, ~DagModel.is_stale)
        if session.scalar(wanted) is None:
            raise DagNotFound(f"Dag {dag_id!r} is not there")


def _assets(build: Build) -> list[int]:
    """Find the assets of the build's setting: several may have one URI under different names."""
    if build.project_id is None or build.build_setting_id is None:
        return []
    uri = build_uri(build.project_id, build.build_setting_id)
    with create_session() as session:
        wanted = select(AssetModel.id).where(AssetModel.uri == uri, AssetModel.active.has())
        return list(session.scalars(wanted.order_by(AssetModel.id)))


def _add_asset_event(asset_id: int, build: Build, extra: dict[str, Any]) -> bool:
    """Register an event of an asset; tell whether it is new."""
    with create_session() as session:
        # The lock that makes looking and writing one step, on every database: nothing is changed.
        locked = update(AssetModel).where(AssetModel.id == asset_id).values(id=AssetModel.id)
        session.execute(locked.execution_options(synchronize_session=False))
        if any(
            webhook.reports_build(known, build) for known in _known_extras(session, asset_id, build)
        ):
            return False
        asset = session.get(AssetModel, asset_id)
        if asset is None:  # its last Dag is gone, just now
            return False
        asset_manager.register_asset_change(asset=asset, extra=extra, session=session)
        return True


def _known_extras(session: Any, asset_id: int, build: Build) -> list[Any]:
    """Give the extras of the asset's events in which the build's id occurs."""
    wanted = select(AssetEvent.extra).where(
        AssetEvent.asset_id == asset_id,
        cast(AssetEvent.extra, String).contains(f'"{build.id}"', autoescape=True),
    )
    if build.finished_at is not None:  # an event cannot be older than what it tells of
        wanted = wanted.where(AssetEvent.timestamp > build.finished_at - LOOK_BACK)
    return list(session.scalars(wanted))
