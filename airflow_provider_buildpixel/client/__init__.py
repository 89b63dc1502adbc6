"""Two thin shells around the core, blocking and asyncio: they do I/O and decide nothing."""
