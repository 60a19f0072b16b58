"""The metrics of `metrics_sdk` for Prometheus: to be scraped, as text or with native histograms; or pushed.

    from metrics_sdk_prometheus import PrometheusEndpoint

    PrometheusEndpoint().start()  # http://127.0.0.1:9464/metrics

`wsgi_app()` and `asgi_app()` are for servers of one's own; `RemoteWriteExporter` and `PushgatewayExporter` for who cannot be
scraped. Nothing is served until it is asked for. The logger is `metrics_sdk_prometheus`; it is
silent unless the host wants it.
"""

import logging
from typing import TYPE_CHECKING, Any

from .answer import Source
from .asgi import asgi_app
from .collected import CollectorRegistryProducer
from .endpoint import PrometheusEndpoint
from .formats import OPENMETRICS, PROTOBUF, TEXT, Format
from .negotiate import accepts_gzip, choose_format
from .renderer import Renderer, render
from .wsgi import wsgi_app

if TYPE_CHECKING:
    from .pushgateway import PushgatewayExporter
    from .remote_write import RemoteWriteExporter

__all__ = [
    "OPENMETRICS",
    "PROTOBUF",
    "TEXT",
    "CollectorRegistryProducer",
    "Format",
    "PrometheusEndpoint",
    "PushgatewayExporter",
    "RemoteWriteExporter",
    "Renderer",
    "Source",
    "accepts_gzip",
    "asgi_app",
    "choose_format",
    "render",
    "wsgi_app",
]


def __getattr__(name: str) -> Any:
    """Import an exporter when it is asked for: who is scraped does not pay for an HTTP client, 10 ms."""
    if name == "PushgatewayExporter":
        from .pushgateway import PushgatewayExporter

        return PushgatewayExporter
    if name == "RemoteWriteExporter":
        from .remote_write import RemoteWriteExporter

        return RemoteWriteExporter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Without a handler Python would write warnings to the host's stderr.
logging.getLogger(__name__).addHandler(logging.NullHandler())
