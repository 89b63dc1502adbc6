"""Every error of this provider, as one shallow tree.

    BuildPixelError (AirflowException)
    ├── Unreachable          no answer came back
    ├── UnexpectedAnswer     an answer that the API does not promise
    ├── InvalidRequest       400, and every other refusal of the request as it stands
    ├── Unauthorized         401
    ├── Forbidden            403
    ├── NotFound             404
    │   └── ArtifactUnavailable
    ├── RateLimited          429
    ├── ServerFault          5xx
    ├── BuildFailed          the build ended without success
    ├── BuildSuperseded      a newer build took its place
    ├── BuildTimeout         the build did not end in time (it goes on)
    ├── BuildInFlight        a live build is in the way and ``on_in_flight="fail"``
    ├── DispatchUncertain    a trigger request may have started a build that cannot be identified
    └── ChecksumMismatch     the artifact is not what BuildPixel announced

``except AirflowException`` catches all of them. Those that no retry can fix (400, 401, 403) are
also an ``AirflowFailException``: the task fails at once.
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

# The classes are defined without Airflow, so that the code that decides can be used and tested
# without it. Here they get Airflow's base classes and the path that users import: there is one set
# of classes, whichever module raises the error.
BuildPixelError.__bases__ = (AirflowException,)
for _error in (InvalidRequest, Unauthorized, Forbidden):
    _error.__bases__ = (BuildPixelError, AirflowFailException)
for _name in __all__:
    globals()[_name].__module__ = __name__
