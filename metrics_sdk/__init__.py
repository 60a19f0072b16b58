"""Metrics for Python services: record at the price of a C call, read the numbers back in the process or anywhere else."""

from metrics_sdk.config import Config
from metrics_sdk.core.instruments import Attributes, Counter, Gauge, Histogram, UpDownCounter
from metrics_sdk.default import (
    aflush,
    ashutdown,
    concurrency,
    configure,
    counter,
    deliver_on_sigterm,
    flush,
    gauge,
    health,
    histogram,
    instrument,
    observable_counter,
    observable_gauge,
    observable_up_down_counter,
    query,
    query_all,
    query_by,
    reconfigure,
    record,
    shutdown,
    snapshot,
    subscribe,
    timed,
    up_down_counter,
)
from metrics_sdk.errors import (
    ConfigurationError,
    DeclarationError,
    MetricsError,
    StoreError,
    TooManyInstruments,
    UnknownInstrument,
)
from metrics_sdk.export import Export
from metrics_sdk.feeds import Window
from metrics_sdk.health import Health
from metrics_sdk.parallelism import Parallelism
from metrics_sdk.query import Aggregate, Grouped
from metrics_sdk.registry import Observable
from metrics_sdk.sdk import MetricsSDK
from metrics_sdk.snapshot import Exporter, Snapshot
from metrics_sdk.subscriptions import Subscription
from metrics_sdk.view import Aggregation, View

__all__ = [
    "Aggregate",
    "Aggregation",
    "Attributes",
    "Config",
    "ConfigurationError",
    "Counter",
    "DeclarationError",
    "Export",
    "Exporter",
    "Gauge",
    "Grouped",
    "Health",
    "Histogram",
    "MetricsError",
    "MetricsSDK",
    "Observable",
    "Parallelism",
    "Snapshot",
    "StoreError",
    "Subscription",
    "TooManyInstruments",
    "UnknownInstrument",
    "UpDownCounter",
    "View",
    "Window",
    "aflush",
    "ashutdown",
    "concurrency",
    "configure",
    "counter",
    "deliver_on_sigterm",
    "flush",
    "gauge",
    "health",
    "histogram",
    "instrument",
    "observable_counter",
    "observable_gauge",
    "observable_up_down_counter",
    "query",
    "query_all",
    "query_by",
    "reconfigure",
    "record",
    "shutdown",
    "snapshot",
    "subscribe",
    "timed",
    "up_down_counter",
]
