"""Keeps two tasks of one Airflow from starting builds of the same kind at the same time.

BuildPixel offers no way to start a build only if none is live. Airflow's tasks share one thing that
they can write: Variables. A Variable has no atomic "set if empty", so a task writes its name, waits
longer than a write takes, and holds the lock if its name is still there (Fischer's algorithm).
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, Variable
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

WriteError: type[Exception]
if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk.exceptions import AirflowRuntimeError as WriteError
else:  # until 2.11 is dropped: tasks write to the database
    from sqlalchemy.exc import SQLAlchemyError as WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

    from airflow_provider_buildpixel.builds.request import BuildFilter


KEY_PREFIX = "buildpixel_dispatch_"
DESCRIPTION = "Lock of a task that starts a BuildPixel build; deleted when it has started it."

SETTLE_TIME = 2.0
"""Seconds within which the write of another task has surely arrived."""

RETRY_PAUSE = 1.0
"""Seconds between two looks at a lock that another task holds, before jitter."""

EXPIRES_AFTER = 600.0
"""Seconds after which the lock of a task that was killed is ignored."""

MAX_WAIT = 1800.0
"""Seconds after which a task goes on without the lock: it must not wait for ever."""

CANNOT_LOCK = (AirflowException, WriteError, ImportError, PermissionError, TimeoutError)
"""Errors of a process that cannot use Variables: it has no supervisor, or may not write them."""


class DispatchLock:
    """The right to start a build of one kind, among all tasks of this Airflow.

    :param kind: project, platform, build type and branch of the build.
    :param owner: the task instance; its retry takes over its own lock.
    """

    def __init__(self, kind: BuildFilter, owner: str) -> None:
        digest = hashlib.sha256(json.dumps(kind.to_json(), sort_keys=True).encode()).hexdigest()
        self._key = KEY_PREFIX + digest[:24]
        self._owner = owner

    def acquire(self) -> None:
        """Wait until no other task holds the lock, then hold it.

        :raises TimeoutError: it took too long.
        """
        deadline = time.time() + MAX_WAIT
        while not (self._is_free() and self._claim()):
            if time.time() > deadline:
                raise TimeoutError(f"the Variable {self._key} could not be taken")
            time.sleep(RETRY_PAUSE * (1 + random.random()))  # noqa: S311  # spreads tasks

    def release(self) -> None:
        """Delete the lock, unless another task holds it by now."""
        if self._holder() == self._owner:
            Variable.delete(self._key)

    def _claim(self) -> bool:
        value = json.dumps({"owner": self._owner, "expires_at": time.time() + EXPIRES_AFTER})
        Variable.set(self._key, value, description=DESCRIPTION)
        time.sleep(SETTLE_TIME)
        return self._holder() == self._owner

    def _is_free(self) -> bool:
        return self._holder() in (None, self._owner)

    def _holder(self) -> str | None:
        """Return the owner of the lock; None if there is none, or its lock has expired."""
        try:
            # Not a text as the default: Airflow would take it for a secret to mask.
            stored: Any = json.loads(Variable.get(self._key, None) or "{}")
            owner, expires_at = str(stored["owner"]), float(stored["expires_at"])
        except (ValueError, KeyError, TypeError):
            return None
        return owner if time.time() < expires_at else None


@contextmanager
def dispatch_lock(
    kind: BuildFilter, owner: str, log: Logger | Any, *, needed: bool
) -> Iterator[bool]:
    """Hold the lock of a kind of builds while the block runs; yield whether it is held.

    Airflow may not let tasks write Variables. Without the lock, two tasks that check for live
    builds at the same moment can both start one.

    :param needed: False does nothing.
    """
    lock = DispatchLock(kind, owner) if needed else None
    try:
        if lock is not None:
            lock.acquire()
    except CANNOT_LOCK as error:
        log.info("Starting a build without a lock, as Variables cannot be used: %s", error)
        lock = None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            with suppress(*CANNOT_LOCK):  # it expires
                lock.release()
