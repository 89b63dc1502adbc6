"""The documented REST endpoints, as functions from a request to a response."""
