"""Prometheus's own tool reads the text format."""

from __future__ import annotations

import subprocess

import pytest
from metrics_sdk_prometheus import render

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric, Point, Snapshot

pytestmark = pytest.mark.slow


def check(promtool: str, shown: bytes) -> str:
    done = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True, timeout=30, check=False)
    return f"{done.returncode} {done.stdout.decode()}{done.stderr.decode()}"


HOSTILE = '"} 1\nforged 2\n\\ \r \u2028 \u202e 😀 \x01 \ud800 %s'


def series(value: object) -> tuple[Point, ...]:
    return tuple([Point(attributes, value, 1.5, 2.0) for attributes in ((), (("a.b", HOSTILE), ("le", 1)))])  # type: ignore[arg-type]


def test_promtool_finds_nothing_to_complain_of(promtool: str) -> None:
    snapshot = Snapshot(
        {"service.name": HOSTILE},
        2.0,
        (
            Metric("http.requests", "counter", "{request}", "Requests. " + HOSTILE, None, series(3)),
            Metric(
                "http.duration", "histogram", "s", "Duration.", (0.5,), series(ExplicitBuckets(3, 2.5, 0, 2, (0.5,), (1, 2)))
            ),
            Metric(
                "http.size",
                "histogram",
                "By",
                "Size.",
                None,
                series(ExponentialBuckets(4, 9.5, 0.0, 5.0, 3, 1, ((-1, 1), (5, 2)), ())),
            ),
            Metric(
                "offset", "histogram", "", "May be negative.", (-1.0,), series(ExplicitBuckets(3, -2.5, -2, 2, (-1.0,), (1, 2)))
            ),
            Metric("temperature", "gauge", "Cel", "Temperature.", None, series(-3.5)),
        ),
    )
    assert "0 " == check(promtool, render(snapshot))


def test_promtool_does_complain_of_a_forged_line(promtool: str) -> None:
    """The check above proves something: it is able to fail."""
    assert "0 " != check(promtool, b'# HELP a A.\n# TYPE a gauge\na{x=""} 1\nforged"} 2\n')
