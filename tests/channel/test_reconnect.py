from __future__ import annotations

from airflow_provider_buildpixel.channel.reconnect import (
    LONG_POLLING,
    STABLE_AFTER,
    WEBSOCKET,
    ReconnectPolicy,
)


def test_websocket_then_long_polling_then_a_growing_pause() -> None:
    """If a websocket fails, long-polling is next without a pause; then follows a growing pause."""
    policy = ReconnectPolicy(cap=8.0)
    pauses = []
    for _ in range(6):
        assert policy.transport == WEBSOCKET
        assert policy.failed(1.0) == 0.0
        assert policy.transport == LONG_POLLING
        pauses.append(policy.failed(1.0))
    assert pauses == sorted(pauses)
    assert pauses[0] == 1.0
    assert pauses[-1] == 8.0


def test_a_refused_token_is_rarely_tried() -> None:
    """After a refused token the next attempt is at least a minute later."""
    assert ReconnectPolicy().failed(0.5, refused=True) >= 60.0


def test_a_stable_channel_reconnects_soon() -> None:
    """A channel with stable connections reconnects at once, even after many losses."""
    policy = ReconnectPolicy()
    for _ in range(20):
        policy.connected()
        assert policy.dropped(1.0, uptime=STABLE_AFTER) <= 0.2


def test_a_flapping_channel_reconnects_slowly() -> None:
    """The pause grows while connections are lost soon after they open."""
    policy = ReconnectPolicy(cap=60.0)
    pauses = []
    for _ in range(12):
        policy.connected()
        pauses.append(policy.dropped(1.0, uptime=0.1))
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60.0
