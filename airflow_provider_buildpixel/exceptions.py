"""All errors of this provider, in one shallow class tree.

    BuildPixelError (AirflowException)
    ├── Unreachable          no response arrived
    ├── UnexpectedAnswer     the response is not as documented
    ├── InvalidRequest       400 and other 4xx, or an invalid parameter
    ├── Unauthorized         401
    ├── Forbidden            403
    ├── NotFound             404
    │   └── ArtifactUnavailable
    ├── RateLimited          429
    ├── ServerFault          5xx
    ├── BuildFailed          the build ended without success
    ├── BuildSuperseded      a newer build replaced the build
    ├── BuildTimeout         the build did not end in time (it continues)
    ├── BuildInFlight        a live build exists and ``on_in_flight="fail"``
    ├── DispatchUncertain    a trigger request may have started a build that cannot be identified
    └── ChecksumMismatch     the artifact does not match its MD5 or size

``except AirflowException`` catches all of them. Those that a retry cannot fix (400, 401, 403) are
also ``AirflowFailException``: the task fails without a retry.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_buildpixel.api.errors import (
    ArtifactUnavailable,
    BuildPixelError,
    ChecksumMismatch,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unreachable,
)
from airflow_provider_buildpixel.builds.errors import (
    BuildFailed,
    BuildInFlight,
    BuildSuperseded,
    BuildTimeout,
    DispatchUncertain,
)

__all__ = [
    "ArtifactUnavailable",
    "BuildFailed",
    "BuildInFlight",
    "BuildPixelError",
    "BuildSuperseded",
    "BuildTimeout",
    "ChecksumMismatch",
    "DispatchUncertain",
    "Forbidden",
    "InvalidRequest",
    "NotFound",
    "RateLimited",
    "ServerFault",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unreachable",
]

# The classes are defined without Airflow, so that the pure modules can be used and tested without
# it. This module gives them Airflow's base classes and the public import path. There is one set of
# classes, whichever module raises the error.
BuildPixelError.__bases__ = (AirflowException,)
for _error in (InvalidRequest, Unauthorized, Forbidden):
    _error.__bases__ = (BuildPixelError, AirflowFailException)
for _name in __all__:
    globals()[_name].__module__ = __name__
