"""Builds that have ended, as asset events: reported by a webhook, or found by polling."""
