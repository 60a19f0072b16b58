"""Numbers for people."""

from __future__ import annotations

import pytest

from metrics_sdk.demo.units import human, human_rate


@pytest.mark.parametrize(
    ("expected", "value", "unit"),
    [
        ("0 s", 0.0, "s"),
        ("1.23 ms", 0.00123, "s"),
        ("1 ms", 0.001, "s"),
        ("45.6 µs", 45.6e-6, "s"),
        ("999 ms", 0.9994, "s"),
        ("1.00 s", 0.9996, "s"),
        ("7,200 s", 2.0, "h"),
        ("250 ms", 250, "ms"),
        ("0.50 ns", 5e-10, "s"),
        ("0 B", 0, "By"),
        ("999 B", 999, "By"),
        ("0.98 KiB", 1000, "By"),
        ("34.1 KiB", 34_900, "By"),
        ("2 GiB", 2**31, "By"),
        ("5,000 TiB", 5000 * 2**40, "By"),
        ("56.3 %", 0.563, "1"),
        ("12 %", 12, "%"),
        ("99,999", 99_999, "{request}"),
        ("100k", 100_000, "{request}"),
        ("1.23M", 1_234_567, ""),
        ("0.25", 0.25, ""),
        ("0.0012", 0.0012, ""),
        ("17 kg", 17, "kg"),
        ("-3 s", -3.0, "s"),
        ("", None, "s"),
    ],
)
def test_a_number_is_shown_with_three_digits_and_a_fitting_unit(expected, value, unit):
    """A value is scaled to a unit in which it is short, and never shown as 1000 of one."""
    assert expected == human(value, unit)


def test_a_rate_is_so_much_per_second():
    """A rate has the unit of its amount per second; an unknown one is empty."""
    assert ["1.50 KiB/s", "12.5/s", ""] == [human_rate(1536, "By"), human_rate(12.5), human_rate(None, "By")]
