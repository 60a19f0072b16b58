"""Protocol Buffers' wire format: what is written is read by the official package, and the other way round."""

from __future__ import annotations

import math

import pytest
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint, HistogramDataPoint

from metrics_sdk.protobuf import (
    double,
    fields,
    message,
    packed_doubles,
    packed_varints,
    text,
    varint,
    whole,
    zigzag,
)

unsigned = st.integers(0, 2**64 - 1)
signed = st.integers(-(2**63), 2**63 - 1)


@given(unsigned)
def test_unsigned_numbers_are_read_as_they_were(number: int) -> None:
    assert number == wrappers_pb2.UInt64Value.FromString(whole(1, number)).value


@given(signed)
def test_signed_numbers_are_read_as_they_were(number: int) -> None:
    assert number == wrappers_pb2.Int64Value.FromString(whole(1, number)).value


@given(st.integers(-(2**31), 2**31 - 1))
def test_zigzag_numbers_are_read_as_they_were(number: int) -> None:
    assert number == ExponentialHistogramDataPoint.FromString(whole(6, zigzag(number))).scale


@given(st.floats())
def test_doubles_are_read_as_they_were(number: float) -> None:
    read = wrappers_pb2.DoubleValue.FromString(double(1, number)).value
    assert number == read or (math.isnan(number) and math.isnan(read))


@given(st.text(st.characters()))
def test_texts_are_read_as_they_were_but_for_what_cannot_be_encoded(given: str) -> None:
    assert given.encode("utf-8", "replace").decode() == wrappers_pb2.StringValue.FromString(text(1, given)).value


@given(st.lists(unsigned), st.lists(st.floats(allow_nan=False)))
def test_packed_fields_are_read_as_they_were(counts: list[int], bounds: list[float]) -> None:
    read = HistogramDataPoint.FromString(packed_doubles(7, bounds))
    assert bounds == list(read.explicit_bounds)
    buckets = ExponentialHistogramDataPoint.Buckets.FromString(packed_varints(2, counts))
    assert counts == list(buckets.bucket_counts)


@given(st.binary(max_size=300), unsigned, st.floats(allow_nan=False))
def test_fields_are_read_back_by_number(content: bytes, number: int, real: float) -> None:
    made = message(1, content) + whole(2, number) + double(300, real)
    assert [(1, content), (2, number), (300, double(1, real)[1:])] == list(fields(made))


@given(st.binary(max_size=40))
def test_reading_any_bytes_ends_and_raises_nothing_but_value_error(content: bytes) -> None:
    try:
        list(fields(content))
    except ValueError:
        pass


@pytest.mark.parametrize("content", [b"\x80", b"\x0a\x05abc", b"\x09abc", b"\x0b", b"\x08" + b"\xff" * 11, varint(1 << 3 | 3)])
def test_what_is_no_message_raises_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"a field|a number"):
        list(fields(content))
