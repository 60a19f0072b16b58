"""What producers tell is fit to leave, or is left out."""

from __future__ import annotations

from typing import Any

import pytest

from metrics_sdk.produced import fit
from metrics_sdk.snapshot import Exemplar, ExplicitBuckets, Meter, Metric, Point

GOOD = Point((("k", "v"),), 1, 1.0, 2.0, (Exemplar(1, 1.0, (), 0, 0),))
METRIC = Metric("m", "counter", "s", "About it.", None, (GOOD,), "cumulative", Meter("lib", "1", None, (("a", 1),)))


def test_what_is_right_stays_the_very_same_object() -> None:
    made, left_out = fit(METRIC)
    assert (True, 0) == (made is METRIC, left_out)


@pytest.mark.parametrize(
    "odd",
    ["text", None, METRIC._replace(kind="timer"), METRIC._replace(temporality="weekly"), METRIC._replace(points=None), METRIC._replace(kind=[])],
)  # fmt: skip
def test_what_is_no_metric_raises(odd: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        fit(odd)


@pytest.mark.parametrize(
    "odd",
    ["text", GOOD._replace(value="1"), GOOD._replace(value=None), GOOD._replace(time="now"), GOOD._replace(attributes=5)],
)
def test_points_that_are_none_are_left_out_and_counted(odd: Any) -> None:
    made, left_out = fit(METRIC._replace(points=(GOOD, odd, GOOD)))
    assert ((GOOD, GOOD), 1) == (made.points, left_out)
    assert made.points[0] is GOOD


def test_what_can_be_made_right_is() -> None:
    point = GOOD._replace(
        attributes=[("b", 1), (2, "x")], exemplars=("none",), value=ExplicitBuckets(0, 0, None, None, (), (0,))
    )  # type: ignore[arg-type]
    made, left_out = fit(METRIC._replace(name=7, unit=None, description=5, points=[point], meter=Meter(3, None, 4, {"a": [1]})))  # type: ignore[arg-type]
    assert ("7", "", "5", 0) == (made.name, made.unit, made.description, left_out)
    assert ((("2", "x"), ("b", 1)), ()) == (made.points[0].attributes, made.points[0].exemplars)
    assert Meter("3", None, "4", (("a", (1,)),)) == made.meter
