"""The exposition formats, as data: the text has one code path, and this table says where they differ."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """An exposition format: one of those below.

    `content_type`: what it is served as. `counter_suffix`: what a counter's HELP and TYPE lines have after the family's name.
    `resource_family`, `resource_type`: the family that carries the resource. `shows_unit`: whether there are UNIT lines.
    `shows_created`: whether there are `_created` samples. `shows_exemplars`: whether counters and buckets have exemplars.
    `counts_without_sum`: whether a histogram without `_sum` has `_count`. `help_escapes`: replacements in HELP texts.
    `end`: the last line.
    """

    name: str
    content_type: str
    counter_suffix: str
    resource_family: str
    resource_type: str
    shows_unit: bool
    shows_created: bool
    shows_exemplars: bool
    counts_without_sum: bool
    help_escapes: tuple[tuple[str, str], ...]
    end: str


#: Prometheus's text format 0.0.4 ("Exposition formats", Prometheus documentation).
TEXT = Format(
    name="text",
    content_type="text/plain; version=0.0.4; charset=utf-8",
    counter_suffix="_total",
    resource_family="target_info",
    resource_type="gauge",
    shows_unit=False,
    shows_created=False,
    shows_exemplars=False,
    counts_without_sum=True,
    help_escapes=(("\\", "\\\\"), ("\n", "\\n")),
    end="",
)

#: OpenMetrics 1.0 ("OpenMetrics, a cloud-native, highly scalable metrics protocol").
OPENMETRICS = Format(
    name="openmetrics",
    content_type="application/openmetrics-text; version=1.0.0; charset=utf-8",
    counter_suffix="",
    resource_family="target",
    resource_type="info",
    shows_unit=True,
    shows_created=True,
    shows_exemplars=True,
    counts_without_sum=False,  # "_count" is there if and only if "_sum" is
    help_escapes=(("\\", "\\\\"), ("\n", "\\n"), ('"', '\\"')),
    end="# EOF\n",
)

#: Prometheus's messages, io.prometheus.client.MetricFamily of client_model, each with its length before it. The only format
#: that has native histograms. What is said of text here does not matter to it.
PROTOBUF = Format(
    name="protobuf",
    content_type="application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    counter_suffix="_total",
    resource_family="target_info",
    resource_type="gauge",
    shows_unit=True,
    shows_created=True,
    shows_exemplars=True,
    counts_without_sum=True,
    help_escapes=(),
    end="",
)
