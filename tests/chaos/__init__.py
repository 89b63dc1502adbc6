"""Every fault of the sandbox against every phase of a task, and a long run: ``make chaos``."""
