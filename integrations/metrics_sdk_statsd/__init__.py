"""StatsD and DogStatsD for metrics_sdk: an exporter over UDP and Unix datagram sockets, of the standard library alone.

import metrics_sdk
from metrics_sdk_statsd import StatsDExporter

metrics_sdk.configure(metrics_sdk.Config(exporters=[StatsDExporter("udp://127.0.0.1:8125", prefix="shop.")]))
metrics_sdk.counter("orders").add(1, {"country": "de"})  # shop.orders.country.de:1|c, within ten seconds
"""

from __future__ import annotations

from .exporter import StatsDExporter

__all__ = ["StatsDExporter"]
