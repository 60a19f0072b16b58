"""Percentiles of recorded streams, over windows of every age, against NumPy's quantiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.clock import ManualClock

SECONDS = 1500  # of stream: windows of both widths, and of those that are on their way from one to the other
PER_SECOND = 8
QS = (0, 1, 5, 25, 50, 75, 90, 99, 99.9, 100)


def streams() -> dict[str, Any]:
    source = np.random.default_rng(11)
    size = SECONDS * PER_SECOND
    return {
        "lognormal": source.lognormal(math.log(0.02), 0.6, size),
        "lognormal, wide": source.lognormal(0.0, 1.6, size),
        "Pareto": 0.001 * (1 + source.pareto(1.5, size)),
        "bimodal": np.where(source.random(size) < 0.9, source.normal(0.01, 0.001, size), source.normal(2.0, 0.1, size)),
        "constant": np.full(size, 0.25),
        "powers of two": 2.0 ** source.integers(-9, 1, size),
        "next to powers of two": np.nextafter(2.0 ** source.integers(-9, 1, size), source.choice([0.0, 9.0], size)),
        "1 µs to 1 h": np.exp(source.uniform(math.log(1e-6), math.log(3600), size)),
        "drifting": np.exp(np.linspace(math.log(1e-4), math.log(10), size)) * source.uniform(0.9, 1.1, size),
        "negative": -source.lognormal(0.0, 0.7, size),
    }


def bound(values: Any) -> float | None:
    """The error that is promised for values of such a span."""
    sizes = np.abs(values)
    decades = math.log10(sizes.max() / sizes.min())
    return 0.011 if decades <= 3 else 0.022 if decades <= 6 else None


@pytest.mark.parametrize("name", streams())
def test_percentiles_over_any_span_of_windows_keep_the_promised_error(name: str) -> None:
    values = streams()[name]
    clock = ManualClock(1_000_000.0)
    sdk = MetricsSDK(Config(background=False, clock=clock))
    histogram = sdk.histogram("h")
    for second in range(SECONDS):
        for value in values[second * PER_SECOND : (second + 1) * PER_SECOND]:
            histogram.record(float(value), {"series": second % 3})
        clock.advance(1)
        if second % 10 == 9:
            sdk.flush()  # at the edges of windows, as the flusher does
    checked = 0
    for last in (1, 15, 60, 300, 599, 640, 900, 1400, 10_000):
        found = sdk.query("h", last=last)
        chosen = values[max(0, round(found.start - 1_000_000)) * PER_SECOND :]
        assert len(chosen) == found.count
        assert (chosen.min(), chosen.max()) == (found.min, found.max)
        promised = bound(chosen)
        for q in QS if promised is not None else ():
            # A little less: 0.999 as a double is a little more, which is another rank where 0.999 of the values is a whole number.
            exact = float(np.quantile(chosen, max(0.0, q / 100 - 1e-12), method="inverted_cdf"))
            assert found.percentile(q) == pytest.approx(exact, rel=promised), (last, q)
            checked += 1
    assert checked >= len(QS) or name == "1 µs to 1 h"


def test_zeros_subnormals_negative_and_huge_values_keep_their_order_and_their_count() -> None:
    sdk = MetricsSDK(Config(background=False))
    histogram = sdk.histogram("h")
    values = [-1.7e308, -1.0, -1e-310, 0.0, -0.0, 5e-324, 1e-310, 1.0, 1.7e308]
    for value in values:
        histogram.record(value)
    found = sdk.query("h", last=60)
    percentiles = [found.percentile(q) for q in range(101)]
    assert (9, -1.7e308, 1.7e308) == (found.count, found.min, found.max)
    assert percentiles == sorted(percentiles, key=lambda x: (x is not None, x))
