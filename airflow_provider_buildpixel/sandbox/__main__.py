"""The command line of the sandbox."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_buildpixel.sandbox.faults.catalog import KINDS
from airflow_provider_buildpixel.sandbox.sandbox import Sandbox
from airflow_provider_buildpixel.sandbox.variants import Variants
from airflow_provider_buildpixel.sandbox.world.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESSES = """\
BuildPixel sandbox on {sandbox.url}, {speed:g} times as fast as real time
  token (member)   {sandbox.token}
  token (viewer)   {sandbox.viewer_token}
  dashboard        {sandbox.url}/dashboard
  control routes   {sandbox.url}/_sandbox/state
For Airflow:
  export AIRFLOW_CONN_BUILDPIXEL_DEFAULT='{sandbox.connection_uri}'
Press Ctrl-C to stop."""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["demo"]:
        # Only the demo needs Airflow.
        demo = import_module("airflow_provider_buildpixel.sandbox.demo")
        return int(demo.main(arguments[1:]) or 0)
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


def faults(_: argparse.Namespace) -> int:
    """List the faults."""
    for name, kind in KINDS.items():
        print(f"{name:28}{kind.description}")
    return 0


def variants(_: argparse.Namespace) -> int:
    """List the points that the documentation leaves open, with their possible values."""
    for name, values in Variants.points().items():
        print(f"{name:18}{Variants.meanings()[name]}\n{'':18}{' | '.join(map(str, values))}")
    return 0


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopped.set())
    try:
        with _sandbox(options) as sandbox:
            print(ADDRESSES.format(sandbox=sandbox, speed=options.speed), flush=True)
            stopped.wait()
    except OSError as error:
        print(f"cannot listen on port {options.port}: {error}", file=sys.stderr)
        return 1
    return 0


def _sandbox(options: argparse.Namespace) -> Sandbox:
    return Sandbox(
        options.port,
        options.speed,
        Variants(**dict(options.variant)),
        plan=options.plan,
        concurrency=options.concurrency,
        minutes=options.minutes,
        seed=options.seed,
        default=Plan(queue=options.queue, run=options.run, lines=options.lines),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="buildpixel-sandbox", description="A stand-in BuildPixel server on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("demo", help="run the release pipeline in a real Airflow", add_help=False)
    commands.add_parser("faults", help="list the faults that can be ordered").set_defaults(
        command=faults
    )
    commands.add_parser(
        "variants", help="list the points that the API documentation leaves open"
    ).set_defaults(command=variants)
    server = commands.add_parser(
        "serve",
        help="serve the API until Ctrl-C",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    server.set_defaults(command=serve)
    _add_options(server.add_argument)
    return parser


def _add_options(add: Callable[..., argparse.Action]) -> None:
    add("--port", type=int, default=8765, help="port of the API; 0 for a free one")
    add("--speed", type=float, default=60.0, help="sandbox seconds per real second")
    add("--queue", type=float, default=60.0, help="sandbox seconds for which a build is pending")
    add("--run", type=float, default=1200.0, help="sandbox seconds for which a build is running")
    add("--lines", type=int, default=60, help="number of log lines per build")
    add("--plan", default="team", help="subscription plan; free: one build at a time")
    add("--concurrency", type=int, help="limit of builds that run at a time")
    add("--minutes", type=float, help="build minutes left in this month")
    add("--seed", type=int, default=0, help="random seed; the same seed results in the same tokens")
    add("--variant", type=_variant, action="append", default=[], help="NAME=VALUE, repeatable")


def _variant(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    points = Variants.points()
    if name not in points:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(points)}")
    for candidate in points[name]:
        if str(candidate) == value:
            return name, candidate
    raise argparse.ArgumentTypeError(f"{name} must be one of {', '.join(map(str, points[name]))}")


if __name__ == "__main__":
    sys.exit(main())
