"""Content negotiation: which format, and whether compressed (RFC 9110, sections 12.4.2 and 12.5)."""

from __future__ import annotations

import re
from typing import NamedTuple

from .formats import OPENMETRICS, PROTOBUF, TEXT, Format

_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")


class _Offer(NamedTuple):
    """`parameters` are compared where they are given; or they must be, where that is `strict`."""

    format: Format
    type: str
    subtype: str
    parameters: dict[str, str]
    strict: bool = False


# The first one is what wildcards get. Protobuf is only for who says what messages it wants, and how they shall be separated.
_MESSAGES = {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"}
_OFFERS = (
    _Offer(TEXT, "text", "plain", {"version": "0.0.4"}),
    _Offer(OPENMETRICS, "application", "openmetrics-text", {"version": "1.0.0"}),
    _Offer(PROTOBUF, "application", "vnd.google.protobuf", _MESSAGES, strict=True),
)


class _Item(NamedTuple):
    value: str
    parameters: dict[str, str]
    quality: float


def choose_format(accept: str) -> Format:
    """Return the format for an `Accept` header: the one with the highest `q`, of equals the one named first.

    The version of a text format is compared where one is given. Where nothing fits it is the text format, as Prometheus's own
    libraries have it, rather than an error.
    """
    best = (0.0, 0, 0)
    chosen = TEXT
    items = _items(accept)
    for offer in _OFFERS:
        # The most specific range decides on an offer, not the one with the highest quality.
        fitting = [(_specificity(item, offer), -place, item.quality) for place, item in enumerate(items)]
        specificity, place, quality = max(fitting, default=(0, 0, 0.0))
        if specificity and quality > 0 and (quality, specificity > 2, place) > best:
            best = (quality, specificity > 2, place)
            chosen = offer.format
    return chosen


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether an `Accept-Encoding` header allows gzip."""
    qualities = {item.value: item.quality for item in _items(accept_encoding)}
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


def _specificity(item: _Item, offer: _Offer) -> int:
    if "*" in item.value and offer.strict:
        return 0
    if item.value == "*/*":
        return 1
    if item.value == f"{offer.type}/*":
        return 2
    if item.value != f"{offer.type}/{offer.subtype}":
        return 0
    given = {name: item.parameters[name] for name in offer.parameters if name in item.parameters}
    if not given and not offer.strict:
        return 3
    return 4 if given == offer.parameters else 0


def _items(header: str) -> list[_Item]:
    items = []
    for part in header.split(","):
        value, *rest = part.split(";")
        parameters = {}
        for parameter in rest:
            key, _, text = parameter.partition("=")
            parameters[key.strip().lower()] = text.strip().strip('"')
        quality = parameters.get("q", "1")
        if value.strip() and _QUALITY.match(quality):  # one that is malformed is passed over
            items.append(_Item(value.strip().lower(), parameters, float(quality)))
    return items
