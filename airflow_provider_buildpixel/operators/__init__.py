"""Operators: trigger a build, fetch its artifact."""
