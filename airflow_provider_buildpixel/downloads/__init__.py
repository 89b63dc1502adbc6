"""Downloads of artifacts: resumed after interruptions, and verified."""
