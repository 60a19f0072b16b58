"""What the environment says of OTLP. OpenTelemetry's "OpenTelemetry Protocol Exporter" and "SDK Environment Variables".

Of two variables, that for metrics alone has the say. An empty one is as if it were not there; what cannot be understood is
logged and ignored.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from metrics_sdk.http_target import TLS, is_header

logger = logging.getLogger("metrics_sdk_opentelemetry")

_AGGREGATIONS = {"explicit_bucket_histogram": "explicit", "base2_exponential_bucket_histogram": "exponential"}
_PREFERENCES = {one: one for one in ("cumulative", "delta", "lowmemory")}
_PROTOCOLS = {one: one for one in ("grpc", "http/protobuf")}
_COMPRESSIONS = {one: one for one in ("gzip", "none")}


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for an `OTLPExporter`: those `given`, and the environment's besides."""
    found: dict[str, Any] = {"compression": _choice(_otlp("COMPRESSION"), _COMPRESSIONS), "headers": _headers()}
    base = _value("OTEL_EXPORTER_OTLP_ENDPOINT")
    found["endpoint"] = _value("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") or (f"{base.rstrip('/')}/v1/metrics" if base else None)
    if str(given.get("endpoint", found["endpoint"])).lower().startswith("https:"):
        paths = [_value(_otlp(name)) or None for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")]
        found["tls"] = TLS(*paths) if any(paths) else None
    _choice(_otlp("PROTOCOL"), _PROTOCOLS)
    if wants_grpc():
        logger.warning("OTEL_EXPORTER_OTLP_PROTOCOL=grpc is ignored: OTLPExporter speaks http/protobuf, mostly on port 4318")
    return {**{name: value for name, value in found.items() if value is not None}, **given}


def preferences() -> dict[str, Any]:
    """Return how an `OTLPExporter` wants to be driven."""
    timeouts = [_seconds(name) for name in (_otlp("TIMEOUT"), "OTEL_METRIC_EXPORT_TIMEOUT")]
    found = {
        "interval_seconds": _seconds("OTEL_METRIC_EXPORT_INTERVAL"),
        "timeout_seconds": min([one for one in timeouts if one is not None], default=None),
        "temporality": _choice("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", _PREFERENCES),
        "histogram_aggregation": _choice("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", _AGGREGATIONS),
    }
    return {name: value for name, value in found.items() if value is not None}


def wants_grpc() -> bool:
    """Tell whether gRPC is asked for, which is not what an `OTLPExporter` speaks."""
    return _value(_otlp("PROTOCOL")).lower() == "grpc"


def _otlp(name: str) -> str:
    """Return the name of the variable that has the say."""
    own = f"OTEL_EXPORTER_OTLP_METRICS_{name}"
    return own if _value(own) else f"OTEL_EXPORTER_OTLP_{name}"


def _value(name: str) -> str:
    return os.environ.get(name, "").strip()


def _choice(name: str, choices: dict[str, str]) -> str | None:
    given = _value(name).lower()
    if given and given not in choices:
        logger.warning("%s=%r is ignored: it is none of %s", name, given, ", ".join(choices))
    return choices.get(given)


def _seconds(name: str) -> float | None:
    """Return a time in milliseconds, as all variables of OpenTelemetry have it, in seconds."""
    given = _value(name)
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or not int(given):
        logger.warning("%s=%r is ignored: it should be a whole number of milliseconds, above 0", name, given)
        return None
    return int(given) / 1000


def _headers() -> dict[str, str] | None:
    """Return the headers, whose values are URL-encoded, as in W3C's Baggage; no value is ever logged."""
    name = _otlp("HEADERS")
    found: dict[str, str] = {}
    for item in _value(name).split(","):
        key, equals, value = item.partition("=")
        key, value = unquote(key.strip()), unquote(value.strip())
        if equals and is_header(key, value):
            found[key] = value
        elif item.strip():
            logger.warning("a part of %s is ignored: it should be name=value, and more of these after commas", name)
    return found or None
