"""Fuzzes every decoder, guided by coverage, for so many seconds each: ``make fuzz``.

Each target runs in a process of its own, as libFuzzer ends the one that it runs in. What fails is
left in ``.fuzz/<target>`` as a file, with which the target can be run again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

PLACE = Path(".fuzz")
LONGEST = {"answer": 4_000, "archive": 20_000, "unpack": 4_000}
SUBJECTS = ["airflow_provider_buildpixel", "tarfile", "email", "json"]
DONE = re.compile(rb"Done (\d+) (?:runs )?in (\d+) second|stat::number_of_executed_units:\s*(\d+)")


def main() -> int:
    """Run all targets, or those that are named; the exit code tells if one failed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    args = parser.parse_args()
    failed = [name for name in args.targets or TARGETS if not _survives(name, args.seconds)]
    print(f"failed: {', '.join(failed)}" if failed else "no target failed")
    return bool(failed)


def _survives(name: str, seconds: int) -> bool:
    """Fuzz one target; tell whether nothing came up."""
    place = PLACE / name
    corpus = place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [
        *(sys.executable, "-m", "tests.fuzz.one", name, f"-max_total_time={seconds}"),
        *(f"-artifact_prefix={place}/", f"-max_len={LONGEST.get(name, 2_000)}"),
        *("-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", str(corpus)),
    ]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    runs = max((int(found[1] or found[3]) for found in DONE.finditer(done.stdout)), default=0)
    print(f"{name}: {runs} inputs, {'no failure' if done.returncode == 0 else 'FAILED'}")
    if done.returncode:
        report = done.stdout[done.stdout.find(b" === Uncaught") :]
        print(report[:4_000].decode(errors="replace"))
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
