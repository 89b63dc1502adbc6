"""Builds: which one is meant, how one is started exactly once, and what its end means."""
