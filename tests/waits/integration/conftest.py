from tests.clients.fixtures import (  # noqa: F401  # pytest finds fixtures here
    client,
    client_kind,
    no_leftovers,
    queued_build,
    request_timeout,
    sandbox,
    settings,
)
