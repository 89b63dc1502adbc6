"""The HTTP servers of the sandbox, and the thread and event loop that they run in."""
