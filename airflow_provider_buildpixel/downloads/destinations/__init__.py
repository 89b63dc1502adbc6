"""Where an artifact can go: a file, a directory that it is unpacked into, an object store."""
