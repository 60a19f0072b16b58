"""The table of aggregates, line by line."""

from __future__ import annotations

import pytest

from metrics_sdk.demo.table import render, rows


@pytest.fixture
def aggregates(isolated_metrics):
    """Ten seconds of an application: a counter of two series, a histogram, a gauge and one that is silent."""
    sdk = isolated_metrics.sdk
    served = sdk.counter("served", unit="By")
    served.add(1024, {"route": "/", "host.name": "here"})
    served.add(9216, {"route": "/", "host.name": "here"})
    served.add(512, {"route": "/cart", "host.name": "here"})
    sdk.histogram("wait", unit="s").record(0.25)
    depth = sdk.gauge("depth")
    depth.set(4)
    depth.set(2)
    sdk.counter("silent")
    sdk.flush()
    isolated_metrics.clock.advance(10)
    return {name: series for name, series in sdk.query_all().items() if name in ("served", "wait", "depth", "silent")}


def test_each_series_has_a_line_in_human_units(aggregates):
    """With room for all there is a line per series that has values, with the columns under their headings."""
    assert [
        "metric  attributes                   value  count      rate    mean     min     max     p50     p99",
        "served  host.name=here route=/      10 KiB      2   1 KiB/s",
        "served  host.name=here route=/cart   512 B      1  51.2 B/s",
        "wait                                            1    0.10/s  250 ms  250 ms  250 ms  250 ms  250 ms",
        "depth                                    2      2    0.20/s       3       2       4",
    ] == render(rows(aggregates))


def test_hidden_attributes_are_left_out(aggregates):
    """An attribute that is the same everywhere need not be repeated on every line."""
    assert ["route=/", "route=/cart", "", ""] == [row["attributes"] for row in rows(aggregates, hidden=["host.name"])]


def test_a_name_is_given_once_where_it_need_not_be_repeated(aggregates):
    """Without repetition the lines of one metric after the first begin with blanks."""
    lines = render(rows(aggregates), repeat=False)
    assert ["metric", "served", "", "wait", "depth"] == [line[:8].strip() for line in lines]


def test_where_there_is_less_room_attributes_lose_their_keys_first(aggregates):
    """Two characters too few cost the keys of the attributes, and no column."""
    full = render(rows(aggregates))
    lines = render(rows(aggregates), width=len(full[0]) - 2)
    assert full[0].split() == lines[0].split()
    assert ["served  here /      ", "served  here /cart  "] == [line[:20] for line in lines[1:3]]


def test_where_there_is_little_room_columns_are_spared(aggregates):
    """A table of 50 columns still has names, attributes, counts and the 99th percentile."""
    assert ["metric", "attributes", "count", "rate", "p99"] == render(rows(aggregates), width=50)[0].split()


@pytest.mark.parametrize("width", [1, 2, 10, 20, 33, 47, 80, 100, 101, 102, 200])
def test_no_line_is_ever_wider_than_there_is_room(aggregates, width):
    """Whatever the width, each line keeps to it."""
    assert [] == [line for line in render(rows(aggregates), width=width) if len(line) > width]


def test_what_has_no_room_below_is_counted(aggregates):
    """A table of three lines shows the headings and one series, and how many more there are."""
    assert ["metric", "served", "…"] == [line.split()[0] for line in render(rows(aggregates), height=3)]
    assert "… 3 more series" == render(rows(aggregates), height=3)[-1]
    assert 5 == len(render(rows(aggregates), height=5))


def test_attributes_cannot_steer_the_terminal(isolated_metrics):
    """Control characters in an attribute's value are shown, not sent."""
    isolated_metrics.sdk.counter("clicks").add(1, {"agent": "a\x1b[2J\nb"})
    shown = render(rows({"clicks": isolated_metrics.sdk.query_all()["clicks"]}))[1]
    assert r"agent=a\x1b[2J\nb" == shown.split()[1]


def test_without_series_there_are_the_headings():
    """A table of nothing has its headings, at any width."""
    assert "metric  attributes  value  count  rate  mean  min  max  p50  p99" == render([])[0]
    assert 1 == len(render([], width=20, height=3))
