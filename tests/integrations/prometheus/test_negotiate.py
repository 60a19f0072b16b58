"""Content negotiation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_sdk_prometheus import OPENMETRICS, PROTOBUF, TEXT, Format, accepts_gzip, choose_format

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
NATIVE = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + PROMETHEUS_2


@pytest.mark.parametrize(
    ("expected", "accept"),
    [
        (TEXT, ""),
        (TEXT, "*/*"),
        (TEXT, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (TEXT, "text/plain"),
        (TEXT, "text/*"),
        (OPENMETRICS, PROMETHEUS_2),
        (OPENMETRICS, PROMETHEUS_3),
        (PROTOBUF, NATIVE),
        (PROTOBUF, "application/vnd.google.protobuf; encoding=delimited; proto=io.prometheus.client.MetricFamily, */*;q=0.9"),
        (
            TEXT,
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.2,text/plain;q=0.3",
        ),
        (TEXT, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"),
        (TEXT, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"),
        (TEXT, "application/vnd.google.protobuf"),
        (TEXT, "text/plain;q=0, application/openmetrics-text;q=0, */*"),
        (OPENMETRICS, "application/openmetrics-text"),
        (OPENMETRICS, "application/*"),
        (OPENMETRICS, 'APPLICATION/OpenMetrics-Text ; Version="1.0.0" ; Q=1'),
        (OPENMETRICS, "application/openmetrics-text, text/plain"),
        (TEXT, "text/plain, application/openmetrics-text"),
        (TEXT, "application/openmetrics-text;q=0.1, text/plain;q=0.2"),
        (OPENMETRICS, "application/openmetrics-text;q=0.2, text/plain;q=0.1"),
        (OPENMETRICS, "text/plain;q=0, */*"),
        (TEXT, "application/openmetrics-text;q=0, text/plain;q=0"),
        (TEXT, "application/openmetrics-text;version=0.0.1"),
        (TEXT, "text/plain;version=1.0.0"),
        (TEXT, "image/png"),
        (TEXT, "application/openmetrics-text;q=nan, application/openmetrics-text;q=2, application/openmetrics-text;q=-1"),
        (TEXT, "application/openmetrics-text;q=1e0"),
        (OPENMETRICS, ",;,;q=,application/openmetrics-text,"),
    ],
)
def test_the_format_is_the_one_that_is_wanted_most(expected: Format, accept: str) -> None:
    assert expected is choose_format(accept)


@pytest.mark.parametrize(
    ("expected", "accept_encoding"),
    [
        (False, ""),
        (True, "gzip"),
        (True, "GZIP;q=0.5, identity"),
        (True, "deflate, gzip;q=1.0, *;q=0.5"),
        (False, "gzip;q=0"),
        (False, "gzip;q=0.000, *"),
        (True, "*"),
        (False, "*;q=0"),
        (False, "br, zstd"),
        (False, "xgzip"),
    ],
)
def test_gzip_is_used_only_where_it_is_accepted(expected: bool, accept_encoding: str) -> None:
    assert expected == accepts_gzip(accept_encoding)


@given(
    st.text() | st.lists(st.sampled_from([*"*/,;=q01. ", "text", "plain", "gzip", "application/openmetrics-text"])).map("".join)
)
def test_no_header_is_an_error(header: str) -> None:
    assert choose_format(header) in (TEXT, OPENMETRICS, PROTOBUF)
    assert accepts_gzip(header) in (True, False)
