from tests.clients.fixtures import (  # noqa: F401  # pytest finds fixtures here
    kind,
    nothing_left,
    queued,
    request_timeout,
    sandbox,
    settings,
    shell,
)
