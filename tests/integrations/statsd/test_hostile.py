"""Whatever names, keys, values and numbers are: exactly the lines that were meant leave, and nothing of them is a field of its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_sdk_statsd import StatsDExporter
from statsd_grammar import lines
from statsd_made import metric, point, snapshot

from metrics_sdk.snapshot import ExplicitBuckets, Meter

HOSTILE = st.text(
    st.sampled_from(list(":|@#,\n\r\t \0;=/.-_{}%\x1b\x7f\x85\u2028é漢a1")) | st.characters(), max_size=30
) | st.sampled_from(
    [
        "x:1|c\nforged:9|g",
        "a|#host:evil",
        "a,host:evil",
        "|@0.001",
        ":5|g|#x",
        "_e{5,4}:title|text",
        "_sc|check|0",
        "\n\n",
        "a\x00b",
    ]
)
VALUES = HOSTILE | st.integers() | st.booleans() | st.floats() | st.lists(HOSTILE, max_size=3).map(tuple)
ATTRIBUTES = st.dictionaries(HOSTILE, VALUES, max_size=4).map(lambda made: tuple(sorted(made.items())))


class Unread:
    """Takes datagrams for an exporter in place of its connection."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def open(self, deadline: float) -> None:
        pass

    def send(self, datagram: bytes, deadline: float) -> None:
        self.datagrams.append(datagram)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("dialect", ["statsd", "dogstatsd"])
def test_nothing_that_is_named_or_said_forges_a_line_a_field_or_a_tag(dialect: str) -> None:
    timer = ExplicitBuckets(3, 6.5, 0.5, 4.0, (1.0,), (1, 2))

    @given(HOSTILE, HOSTILE, ATTRIBUTES, HOSTILE, st.dictionaries(HOSTILE.filter(bool), VALUES, max_size=2), HOSTILE)
    def check(prefix: str, name: str, attributes: Any, scope: str, tags: dict[str, Any], service: str) -> None:
        has_tags = dialect == "dogstatsd"
        exporter = StatsDExporter(
            "unix:///nowhere", dialect=dialect, prefix=prefix, tags=tags if has_tags else None, max_datagram_bytes=8192
        )
        exporter._connection = carried = Unread()  # type: ignore[assignment]
        made = snapshot(
            metric(name, "counter", point(3)._replace(attributes=attributes), unit=name, meter=Meter(scope)),
            metric(name, "gauge", point(4)._replace(attributes=attributes)),
            metric(name, "histogram", point(timer)._replace(attributes=attributes)),
            service_name=service,
        )
        assert exporter.export(made, 5.0) is None
        found = lines(carried.datagrams)
        timer_type = "d" if has_tags else "ms"
        assert [(3, "c"), (4, "g"), (0.5, timer_type), (2, timer_type), (4, timer_type)] == [
            (one.value, one.type) for one in found
        ]
        assert 1 == len({one.name for one in found})
        constant = {"service", *[tag for tag in tags if tag == "service"]}
        for number, one in enumerate(found):
            expected = len(attributes) + len({*constant}) + (1 if number == 0 and scope else 0) if has_tags else 0
            assert expected <= len(one.tags) <= expected + len(tags)
            assert not [tag for tag in one.tags if tag.startswith("host:") and "host" not in tags]

    check()


@given(
    st.floats() | st.integers() | st.none() | st.text(max_size=5), st.sampled_from(["counter", "gauge", "histogram", "other"])
)
def test_a_value_that_is_anything_is_one_line_or_one_refused_point(value: Any, kind: str) -> None:
    exporter = StatsDExporter("unix:///nowhere")
    exporter._connection = carried = Unread()  # type: ignore[assignment]
    refused = exporter.export(snapshot(metric("a", "counter", 1), metric("b", kind, value), metric("c", "counter", 2)), 5.0)
    names = {line.name for line in lines(carried.datagrams)}
    assert {"a", "c"} <= names
    if refused is None:
        assert "b" in names or (kind == "counter" and not value)
    else:
        assert 1 == refused.points
        assert "b" not in names


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_resource_whose_text_cannot_be_had_costs_nothing() -> None:
    exporter = StatsDExporter("unix:///nowhere", dialect="dogstatsd")
    exporter._connection = carried = Unread()  # type: ignore[assignment]
    assert exporter.export(snapshot(metric("a", "counter", 1), service_name=Unprintable()), 5.0) is None
    assert [("service:unprintable",)] == [line.tags for line in lines(carried.datagrams)]
