"""Sensors: wait for builds that something else started."""
