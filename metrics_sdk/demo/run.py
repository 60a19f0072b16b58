"""The demo from start to end: begin the work, show it, stop it, give account."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import metrics_sdk as metrics
from metrics_sdk.demo import library, machine, readings, web
from metrics_sdk.demo.interrupts import interrupts
from metrics_sdk.demo.screen import Screen, screen_for
from metrics_sdk.demo.table import Row, rows

if TYPE_CHECKING:
    from metrics_sdk_prometheus import PrometheusEndpoint

WORKERS = 2


def run(seconds: float, port: int) -> int:
    """Run the application for so many seconds, or until Ctrl-C, with its metrics served at `port`; return the exit status."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace")  # where there is no "µ" a "?" will do
    metrics.configure(metrics.Config(resource={"service.name": "metrics-sdk-demo"}))
    endpoint = _endpoint(port)
    if endpoint is None:
        return 2
    source = readings.best()
    screen = screen_for(out)
    # What is observed stays so until the SDK has looked a last time.
    with interrupts() as wait, machine.observed(source):
        # Scrapes end before: what they would observe then would come too late, and be dropped.
        with contextlib.closing(endpoint):
            out.write(greeting(seconds, endpoint.url, source))
            out.flush()
            started = time.monotonic()
            with _working(source):
                in_time = _watch(screen, started, seconds, wait, endpoint.url)
            ended = "done" if in_time else "interrupted"
            screen.end(f"{ended} after {time.monotonic() - started:.1f} s", _rows())
        delivered = metrics.shutdown()
    out.write(accounting(metrics.health()))
    out.flush()
    return 0 if delivered else 1


def _endpoint(port: int) -> PrometheusEndpoint | None:
    """Return the endpoint, started; None if that cannot be, which has then been said."""
    try:
        # The demo is the one place in this package that uses an integration.
        from metrics_sdk_prometheus import PrometheusEndpoint

        return PrometheusEndpoint(port=port).start()
    except ModuleNotFoundError as error:
        if error.name != "metrics_sdk_prometheus":
            raise
        print("the demo needs metrics_sdk_prometheus, which metrics-sdk brings along when it is installed", file=sys.stderr)
    except OSError as error:
        print(f"{error.strerror or error}; give another --port, or 0 for any that is free", file=sys.stderr)
    return None


def greeting(seconds: float, url: str, source: readings.Source) -> str:
    """Return what there is to know before it begins."""
    core = "compiled" if metrics.health().compiled else "interpreted"
    lines = [
        f"metrics_sdk demo: {seconds:g} s, or until Ctrl-C; the core is {core}",
        f"metrics for Prometheus at {url}",
        f"host.name={machine.HOST['host.name']}, read from {source.origin}",
    ]
    missing = machine.unavailable(source)
    if missing:
        lines.append(f"not to be had here: {', '.join(missing)}")
    return "\n".join([*lines, "", ""])


def accounting(health: metrics.Health) -> str:
    """Return where everything that was recorded has gone."""
    reasons = ", ".join([f"{reason} {count:,}" for reason, count in health.dropped.items()])
    return (
        f"\nreceived {health.received:,}\nmerged {health.merged:,}\n"
        f"dropped {sum(health.dropped.values()):,}{f' ({reasons})' if reasons else ''}\npending {health.pending:,}\n"
    )


def _watch(screen: Screen, started: float, seconds: float, wait: Callable[[float], bool], url: str) -> bool:
    """Show the aggregates until the time is over, or until Ctrl-C, which is False."""
    end = started + seconds
    due = started + screen.interval_seconds
    while True:
        if wait(min(due, end) - time.monotonic()):
            return False
        now = time.monotonic()
        if now >= end:
            return True
        screen.show(f"{now - started:.0f} of {seconds:g} s   {url}   Ctrl-C ends it", _rows())
        due = max(due + screen.interval_seconds, now)


def _rows() -> list[Row]:
    return rows(metrics.query_all(), hidden=machine.HOST)


@contextlib.contextmanager
def _working(source: readings.Source) -> Iterator[None]:
    """Keep all the work going inside the block."""
    stop = threading.Event()
    with web.serving() as port, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old code among the files has things to warn of
        threads = [
            *[
                threading.Thread(target=library.work, args=(stop, one, WORKERS), name=f"demo-library-{one}")
                for one in range(WORKERS)
            ],
            threading.Thread(target=web.ask, args=(stop, port), name="demo-web-client"),
            threading.Thread(target=machine.sample, args=(stop, source), name="demo-machine"),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
