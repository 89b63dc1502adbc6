"""Builds: finding and starting one exactly once, and what its log and its end mean."""
