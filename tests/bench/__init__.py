"""Benchmarks; the tests do not run them."""
