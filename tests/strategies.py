"""Hypothesis strategies for JSON that a server may send."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

EXAMPLES = settings(max_examples=40, deadline=None)
"""For properties over JSON: examples are expensive, and a busy machine is not a failure."""

KEYS = st.sampled_from(
    (
        *("id", "status", "buildId", "projectId", "branch", "commit", "changelist", "change"),
        *("durationMs", "createdAt", "items", "nextCursor", "error", "message", "requestId"),
        *("logs", "recentLogs", "lines", "level", "timestamp", "user", "organization", "url"),
        *("sizeBytes", "request", "project_id", "build_setting_id", "clear_count", "requested_at"),
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(
        ("", "complete", "2026-05-10T14:23:45.123Z", "1e999", "0001-01-01T00:00:00+14")
    )
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=8)
    ),
    max_leaves=15,
)
OBJECTS = st.dictionaries(KEYS | st.text(max_size=8), JSON, max_size=10)
