"""Decisions about BuildPixel as plain values: no I/O, no clock, no sleep, no Airflow."""
