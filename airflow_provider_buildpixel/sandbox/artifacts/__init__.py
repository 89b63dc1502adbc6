"""Artifact files: their bytes, byte ranges and signed URLs, without HTTP."""
