"""Snapshots as OTLP's `ExportMetricsServiceRequest`, in pieces of limited size: opentelemetry-proto's metrics.proto."""

from __future__ import annotations

from collections.abc import Iterator

from metrics_sdk.http_target import Request
from metrics_sdk.protobuf import message, text, whole
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Meter, Metric, Point, Snapshot, normalise
from metrics_sdk.version import __version__

from .otlp_points import GAUGE, NUMBER, Layout, PointEncoder, key_values, layout_of

_OWN = Meter("metrics_sdk", __version__)  # the scope of what is recorded with the SDK's own instruments
_TEMPORALITY = {"delta": 1, "cumulative": 2}
_MONOTONIC = ("counter", "observable_counter")
_HEAD = 6  # bytes that a tag and a length take at most
_TOGETHER = 32  # points that are encoded between two looks at the clock: 30 to 100 µs


class Encoder:
    """Makes requests of snapshots. For one thread at a time."""

    def __init__(self, max_request_bytes: int, *, cached_series: int = 100_000, cached_bytes: int = 1000) -> None:
        """No request is larger than `max_request_bytes`.

        The attributes of at most `cached_series` series are remembered, and none that take more than `cached_bytes`.
        """
        self._max_request_bytes = max_request_bytes
        self._points = PointEncoder(cached_series, cached_bytes)

    def requests(self, snapshot: Snapshot) -> Iterator[Request]:
        """Yield the requests, each encoded when the one before it is done with; meanwhile others get their turn.

        A point that cannot be encoded costs itself alone.
        """
        resource = message(1, key_values(1, normalise(snapshot.resource)))
        batch = _Batch(resource, self._max_request_bytes)
        told = 0
        for metric in snapshot.metrics:
            points, layout = metric.points, layout_of(metric)
            told += len(points)
            batch.open(metric, layout)
            for at in in_slices(range(0, len(points), _TOGETHER), looking_every=1):
                some = points[at : at + _TOGETHER]
                try:
                    made = [self._points.encoded(layout, point) for point in some]
                    if batch.add(made):
                        continue
                except Exception:  # whatever is in there, of producers above all
                    pass
                for point in some:  # slow path: one cannot be encoded, or not all fit into this request
                    one = self._encoded(batch, metric, layout, point)
                    if one and not batch.add([one]):
                        if not batch.fits_alone(one):
                            batch.leave_out(f"a point of {metric.name!r} is larger than a request may be")
                            continue
                        yield batch.request()
                        batch = _Batch(resource, self._max_request_bytes)
                        batch.open(metric, layout)
                        batch.add([one])
        if batch.points:
            yield batch.request()
        self._points.forget(told)

    def _encoded(self, batch: _Batch, metric: Metric, layout: Layout, point: Point) -> bytes:
        try:
            return self._points.encoded(layout, point)
        except Exception as error:  # it costs this point alone
            batch.leave_out(f"a point of {metric.name!r} cannot be encoded: {error}")
            return b""


class _Batch:
    """What goes into one request: metrics by meter, each opened, and then given points."""

    def __init__(self, resource: bytes, max_bytes: int) -> None:
        self._resource = resource
        self._max_bytes = max_bytes
        self._scopes: dict[Meter, list[bytes]] = {}
        self._size = len(resource) + _HEAD
        self._opened: tuple[Metric, Layout] | None = None
        self._pieces: list[bytes] = []
        self._envelope = 0  # bytes around the points of the metric that is open
        self._unfit = 0
        self._why = ""
        self.points = 0

    def open(self, metric: Metric, layout: Layout) -> None:
        """Go on with another metric."""
        self._close()
        self._opened = (metric, layout)
        meter = metric.meter or _OWN
        self._envelope = len(_about(metric)) + 4 * _HEAD
        if meter not in self._scopes:
            self._envelope += len(_scope(meter)) + _HEAD

    def add(self, points: list[bytes]) -> bool:
        """Add points; False: there is no room for all of them."""
        size = self._size + sum(map(len, points)) + (0 if self._pieces else self._envelope)
        if size > self._max_bytes:
            return False
        self._size = size
        self._pieces += points
        self.points += len(points)
        return True

    def fits_alone(self, point: bytes) -> bool:
        """Tell whether a request has room for the point if it has nothing else; if this one has something else."""
        metric = self._opened[0] if self._opened else None
        alone = len(self._resource) + len(point) + 6 * _HEAD
        if metric is not None:
            alone += len(_about(metric)) + len(_scope(metric.meter or _OWN))
        return alone <= self._max_bytes and bool(self._pieces or self._scopes)

    def leave_out(self, why: str) -> None:
        """Take note of a point that is not sent."""
        self.points += 1
        self._unfit += 1
        self._why = self._why or why

    def request(self) -> Request:
        """Return the request; without a body, if there is nothing to send."""
        self._close()
        scopes = [message(2, _scope(meter) + b"".join(metrics)) for meter, metrics in self._scopes.items()]
        body = message(1, self._resource + b"".join(scopes)) if scopes else b""
        return Request(body, self.points, self._unfit, self._why)

    def _close(self) -> None:
        if self._pieces and self._opened is not None:
            metric, layout = self._opened
            data = b"".join(self._pieces)
            if layout is not GAUGE:
                data += whole(2, _TEMPORALITY[metric.temporality])
            if layout is NUMBER and metric.kind in _MONOTONIC:
                data += whole(3, 1)
            made = message(2, _about(metric) + message(layout.metric, data))
            self._scopes.setdefault(metric.meter or _OWN, []).append(made)
            self._pieces = []


def _about(metric: Metric) -> bytes:
    return text(1, metric.name) + text(2, metric.description) + text(3, metric.unit)


def _scope(meter: Meter) -> bytes:
    """Return what ScopeMetrics has besides its metrics."""
    about = text(1, meter.name) + text(2, meter.version or "") + key_values(3, meter.attributes)
    return message(1, about) + text(3, meter.schema_url or "")
