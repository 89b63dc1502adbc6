"""The documented endpoints, as functions from a question to an answer."""
