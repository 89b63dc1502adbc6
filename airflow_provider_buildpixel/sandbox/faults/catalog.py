"""The catalog of faults: their names, where each applies, and its parameters.

All durations are in real seconds, because faults test the timeouts of clients.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_buildpixel.sandbox.rest.endpoints import ENDPOINTS

ARTIFACT = "GET artifact"
API_ROUTES = {endpoint.documented: endpoint.name for endpoint in ENDPOINTS} | {
    endpoint.name: endpoint.name for endpoint in ENDPOINTS
}
EVENT_ROUTES = ("build:status", "build:log", "join:build")
ROUTES = API_ROUTES | {route: route for route in (*EVENT_ROUTES, ARTIFACT, "*")}


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault.

    :param layer: where it applies: ``http`` (a response of the API, or of the artifact store if its
        route is given), ``store``, ``listener``, ``socket`` (a connection of the live channel),
        ``connect`` and ``join`` (requests over that connection), ``event`` (sent over it),
        ``webhook``, ``token``.
    :param description: what it does.
    :param params: its parameters. Faults of layer ``http`` also take `token`, and then apply to
        requests with that token only.
    """

    layer: str
    description: str
    params: tuple[str, ...] = ()


KINDS = {
    "500": FaultKind("http", "500 with a proper error body"),
    "502-html": FaultKind("http", "502 with the HTML page of a gateway"),
    "503-empty": FaultKind("http", "503 without a body"),
    "429": FaultKind(
        "http",
        "429; retry_after: seconds, None for no header; date=True: as an HTTP date",
        ("retry_after", "date"),
    ),
    "401": FaultKind("http", "401 invalid_token"),
    "403": FaultKind("http", "403 insufficient_scope"),
    "404": FaultKind("http", "404 not_found"),
    "refuse": FaultKind(
        "http",
        "an error response with `status`, `code` and `message`",
        ("status", "code", "message"),
    ),
    "reset": FaultKind("http", "connection reset before a response; the request has no effect"),
    "close": FaultKind("http", "connection closed before a response; the request has no effect"),
    "hang": FaultKind(
        "http", "no response for `hold` seconds or until removed, then a reset", ("hold",)
    ),
    "slow": FaultKind("http", "the response is `delay` seconds late", ("delay",)),
    "held": FaultKind(
        "http",
        "the response waits until the fault is removed; done=True: the request takes effect at "
        "once, otherwise at removal, unless the client has disconnected",
        ("done", "token"),
    ),
    "lost-answer": FaultKind(
        "http",
        "the request takes effect, but its response is lost; how: reset, close, timeout, 502",
        ("how", "hold"),
    ),
    "truncated-json": FaultKind(
        "http", "half of the response; cut=True: with a Content-Length to match", ("cut",)
    ),
    "mistyped-json": FaultKind(
        "http",
        "wrong types; shape: fields (each value), list, null, string, number, empty",
        ("shape",),
    ),
    "html-200": FaultKind("http", "200 with the HTML of a login page"),
    "empty-200": FaultKind("http", "200 without a body"),
    "redirect": FaultKind(
        "http",
        "a redirect to `location`, by default on the artifact store's origin",
        ("location", "status"),
    ),
    "stale": FaultKind("http", "the response as of `lag` sandbox seconds ago", ("lag",)),
    "endless-pages": FaultKind("http", "lists whose cursor leads to the same page again"),
    "artifact-breaks": FaultKind("store", "the connection closes after `at` bytes", ("at",)),
    "artifact-stalls": FaultKind(
        "store",
        "no more data after `at` bytes, for `hold` seconds or until removed",
        ("at", "hold"),
    ),
    "artifact-slow": FaultKind("store", "`rate` bytes per second", ("rate",)),
    "artifact-ignores-range": FaultKind(
        "store", "a range request is answered with 200 and the whole file"
    ),
    "artifact-wrong-range": FaultKind(
        "store", "206 with a range that starts `shift` bytes later", ("shift",)
    ),
    "artifact-corrupt": FaultKind("store", "the byte at offset `at` is wrong", ("at",)),
    "artifact-short": FaultKind(
        "store", "a valid response that lacks its last `by` bytes", ("by",)
    ),
    "artifact-expired": FaultKind("store", "403, as if the signed URL had expired"),
    "artifact-gone": FaultKind("store", "404, as if the artifact had been removed"),
    "refuse-connections": FaultKind(
        "listener", "the listening socket is closed, all connections are dropped"
    ),
    "sockets-refused": FaultKind(
        "socket", "`status` (default 403) for both transports", ("status",)
    ),
    "sockets-blocked-polling-ok": FaultKind(
        "socket", "`status` (default 403) for websockets only", ("status",)
    ),
    "sockets-dropped": FaultKind(
        "socket", "each connection is dropped after `delay` seconds", ("delay",)
    ),
    "sockets-hang": FaultKind("socket", "101, then no data"),
    "sockets-closed": FaultKind("socket", "101, then a close frame"),
    "sockets-slow": FaultKind(
        "connect", "the namespace is connected `delay` seconds late", ("delay",)
    ),
    "joins-lost": FaultKind("join", "join:build has no effect and no acknowledgement"),
    "events-lost": FaultKind("event", "events are not sent"),
    "events-duplicated": FaultKind(
        "event", "events are sent `copies` times (default 2)", ("copies",)
    ),
    "events-late": FaultKind("event", "events are sent `delay` seconds late", ("delay",)),
    "events-malformed": FaultKind(
        "event",
        "malformed events; shape: a key of malformed.EVENT_SHAPES; default: all in turn",
        ("shape",),
    ),
    "webhooks-lost": FaultKind("webhook", "deliveries are not made"),
    "webhooks-duplicated": FaultKind(
        "webhook", "deliveries are made `copies` times (default 2)", ("copies",)
    ),
    "webhooks-late": FaultKind("webhook", "deliveries are made `delay` seconds late", ("delay",)),
    "webhooks-forged": FaultKind("webhook", "deliveries have an invalid signature"),
    "revoked-token": FaultKind(
        "token", "`token` (default: the member's) is invalid while this lasts", ("token",)
    ),
}

# A fault accepts the parameters of every other fault, so that one test can try several.
PARAMS = frozenset(param for kind in KINDS.values() for param in kind.params)
