"""Destinations of a download: a local file, an unpacked directory, an object store."""
