"""Artifacts: fetched over connections that break, and verified."""
