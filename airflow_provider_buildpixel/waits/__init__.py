"""Waiting for builds: one by one in a worker, or thousands of them over one event loop."""
