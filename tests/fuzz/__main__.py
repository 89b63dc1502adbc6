"""Fuzzes every decoder, guided by coverage, for some seconds each: ``make fuzz``.

Each target runs in a separate process, because libFuzzer ends the process in which it runs. A
failing input is stored in ``.fuzz/<target>``, to reproduce the failure.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

FOLDER = Path(".fuzz")
MAX_LENGTH = {"response": 4_000, "archive": 20_000, "unpack": 4_000}
DONE = re.compile(rb"Done (\d+) (?:runs )?in (\d+) second|stat::number_of_executed_units:\s*(\d+)")


def main() -> int:
    """Run all targets, or the named ones; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each target")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    args = parser.parse_args()
    failed = [name for name in args.targets or TARGETS if not _fuzz(name, args.seconds)]
    print(f"failed: {', '.join(failed)}" if failed else "no target failed")
    return bool(failed)


def _fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target; return whether it had no failure."""
    folder = FOLDER / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [
        *(sys.executable, "-m", "tests.fuzz.fuzz_target", name, f"-max_total_time={seconds}"),
        *(f"-artifact_prefix={folder}/", f"-max_len={MAX_LENGTH.get(name, 2_000)}"),
        *("-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", str(corpus)),
    ]
    process = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    runs = max((int(found[1] or found[3]) for found in DONE.finditer(process.stdout)), default=0)
    print(f"{name}: {runs} inputs, {'no failure' if process.returncode == 0 else 'FAILED'}")
    if process.returncode:
        report = process.stdout[process.stdout.find(b" === Uncaught") :]
        print(report[:4_000].decode(errors="replace"))
    return process.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
