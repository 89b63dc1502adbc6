"""The sensor that waits for a build that something else started."""
