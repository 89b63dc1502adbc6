"""Faults that a test can order: the catalog, those in force, and what they do to responses."""
