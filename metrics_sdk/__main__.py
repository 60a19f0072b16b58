"""The command line: `python -m metrics_sdk demo` and `python -m metrics_sdk query`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` ask for, those of the process by default; return its exit status."""
    given = _parser().parse_args(arguments)
    try:
        status: int = given.command(given)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:  # while the demo did not take care of it: before its start, or after its end
        return 130
    except BrokenPipeError:  # the reader of our output is gone, and the interpreter would complain when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _demo(given: argparse.Namespace) -> int:
    from metrics_sdk.demo.run import run  # not before it is asked for

    return run(given.seconds, given.port)


def _query(given: argparse.Namespace) -> int:
    from metrics_sdk.query_command import run

    return run(given, sys.stdout)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m metrics_sdk", description="In-process metrics.", allow_abbrev=False)
    commands = parser.add_subparsers(metavar="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="run an instrumented application for a while and show its metrics live",
        description="Run an instrumented application for a while and show its metrics live: threads parse and hash Python's "
        "standard library, a sampler watches this machine, and requests are answered and measured over loopback. "
        "Prometheus, or a browser, can read the metrics while it runs. Ctrl-C ends it early.",
        allow_abbrev=False,
    )
    demo.add_argument(
        "--seconds", type=_seconds, default=10.0, metavar="S", help="how long to run, in seconds (default: %(default)g)"
    )
    demo.add_argument(
        "--port",
        type=_port,
        default=9464,
        metavar="P",
        help="port of 127.0.0.1 that /metrics is served at; 0 takes any that is free (default: %(default)s)",
    )
    demo.set_defaults(command=_demo)
    query = commands.add_parser(
        "query",
        help="show what a file of windows has",
        description="Show what a file that SQLiteStore has written has of an instrument: a table with a small chart, or JSON.",
        allow_abbrev=False,
    )
    from metrics_sdk.query_command import add_arguments

    add_arguments(query)
    query.set_defaults(command=_query)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, such as 10 or 0.5, not {text!r}")
    return seconds


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
