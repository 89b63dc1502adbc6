"""Builds that have ended, as events: reported by a webhook, or found by polling."""
