"""Measures the import cost of each public module in addition to Airflow; use a quiet machine.

    .venv/airflow-3.3/bin/python tests/packaging/bench_import_cost.py [rounds]

Prints CPU seconds (minimum and median of all rounds, each in a new process) and modules loaded.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

AIRFLOW_MODULES = "airflow.sdk", "airflow.triggers.base", "airflow.providers.common.compat.sdk"
KINDS = ("hooks", "operators", "sensors", "triggers")
MODULES = [f"airflow_provider_buildpixel.{kind}.buildpixel" for kind in KINDS]

MEASURE_IMPORT = """\
import importlib, json, sys, time
*paid, module = sys.argv[1:]
for name in paid:
    importlib.import_module(name)
modules, began = len(sys.modules), time.process_time()
for name in module.split(","):
    importlib.import_module(name)
print(json.dumps([time.process_time() - began, len(sys.modules) - modules]))
"""


def cost(module: str) -> tuple[float, int]:
    """Return the CPU seconds and the number of modules that an import adds in a new process."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURE_IMPORT, *AIRFLOW_MODULES, module]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, modules = json.loads(done.stdout.splitlines()[-1])
    return seconds, modules


def main(rounds: int) -> None:
    """Print one line per module, and one line for all modules together."""
    for module in [*MODULES, ",".join(MODULES)]:
        costs = [cost(module) for _ in range(rounds)]
        seconds = [one for one, _ in costs]
        name = "all together" if "," in module else module
        minimum, median = min(seconds), statistics.median(seconds)
        print(f"{name:<48} {minimum:.3f} / {median:.3f} s CPU, {costs[0][1]} modules")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 7)
