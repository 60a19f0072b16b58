"""Prometheus remote write 1.0: series pushed to Prometheus, Mimir, Thanos, VictoriaMetrics and whoever else takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from metrics_sdk.errors import ConfigurationError, ExportError
from metrics_sdk.http_target import TLS, HTTPTarget, Request, busy_or_broken, checked_size
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Refused, Snapshot

from .exposition import ODD, Exposition, Walk
from .families import RESOURCE
from .labels import label_text
from .series import Name, SeriesLabels, Writer, metadata, series_labels

_HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
_METADATA_SECONDS = 60.0  # between two times that types, units and descriptions are told, as Prometheus itself does

# What of a resource becomes `job` and `instance`: OpenTelemetry's "Prometheus and OpenMetrics Compatibility".
_NAMESPACE, _SERVICE, _INSTANCE = "service.namespace", "service.name", "service.instance.id"

#: The series of a snapshot by family and labels: what those of one point are called, and their labels.
Told = dict[tuple[str, bytes], tuple[tuple[Name, ...], SeriesLabels]]

_NOTHING: tuple[tuple[Name, ...], None] = ((), None)


class RemoteWriteExporter:
    """Pushes every 15 seconds by Prometheus's remote write protocol. Needs `pip install metrics-sdk[remote-write]`.

        Config(exporters=[RemoteWriteExporter("http://localhost:9090/api/v1/write")])

    `endpoint`: the URL as it is. `headers`: sent with each request, such as Authorization, or a tenant. `tls`: for https.
    `native_histograms`: exponential histograms go as native ones; otherwise, and where their buckets are wider than any native
    schema's, at powers of two as in text. Ask for it only where the receiver takes them: others lose them without a word.
    `max_request_bytes`: a snapshot that is larger, before compression, goes in several requests. Raises ConfigurationError for
    what cannot be.

    Every series has the labels `job` (the resource's service.namespace and service.name) and `instance` (service.instance.id);
    the rest of the resource is the series `target_info`. Samples have the time of the snapshot. A series that was delivered and
    is gone is marked as stale, so that it ends at once and not five minutes later; when the SDK shuts down, series are left as
    they are. 429, 5xx and no answer are tried again, with a newer snapshot; what is refused by any other answer but 2xx, or has
    no form in Prometheus, is counted in `health().exporters[…].refused`. Points are settled in the order of families, not of
    the snapshot, which makes no difference to totals.
    """

    interval_seconds = 15.0
    temporalities = ("cumulative",)

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str] | None = None,
        tls: TLS | None = None,
        native_histograms: bool = False,
        max_request_bytes: int = 4 << 20,
    ) -> None:
        self._compressed = _snappy()
        self._target = HTTPTarget(endpoint, headers=headers, tls=tls)
        self._native = bool(native_histograms)
        self._max_bytes = checked_size(max_request_bytes)
        self._job: dict[str, str] = {}
        self._exposition = _exposition({})
        self._told: Told = {}
        self._metadata_told = float("-inf")
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"RemoteWriteExporter({self._target.endpoint!r})"

    def export(self, snapshot: Snapshot, timeout: float) -> Refused | None:
        """Push everything there is. Raises ExportError if not all of it was accepted."""
        if self._pid != os.getpid():  # a forked child is another instance: the parent's series go on
            self._pid, self._told = os.getpid(), {}
        job, rest = _divided(snapshot.resource)
        if job != self._job:
            self._job, self._exposition = job, _exposition(job)
        told: Told = {}
        requests = self._requests(snapshot._replace(resource=rest), told)
        try:
            refused = self._target.deliver(requests, timeout, _HEADERS, busy_or_broken)
        except ExportError as error:
            if error.settled:  # some have arrived; those that had before are still to be marked when they are gone
                self._told = {**self._told, **told}
            raise
        self._told = told
        if self._tells_metadata(snapshot.time):
            self._metadata_told = snapshot.time
        return refused

    def shutdown(self) -> None:
        """Close the connection."""
        self._target.close()

    def _tells_metadata(self, time: float) -> bool:
        return not 0 <= time - self._metadata_told < _METADATA_SECONDS

    def _requests(self, snapshot: Snapshot, told: Told) -> Iterator[Request]:
        """Yield what is to be sent; `told` takes in what series there are."""
        left = sum([len(metric.points) for metric in snapshot.metrics])
        walk = self._exposition.walk(snapshot)
        parts: list[bytes] = []
        size = points = 0
        for part, done in self._parts(snapshot, walk, told):
            if parts and size + len(part) > self._max_bytes:
                yield Request(self._compressed(b"".join(parts)), points)
                left -= points
                parts, size, points = [], 0, 0
            parts.append(part)
            size += len(part)
            points += done
        # What the walk has left out, or merged with another point, is with the last of them.
        yield Request(self._compressed(b"".join(parts)) if parts else b"", left, walk.left_out, walk.why)

    def _parts(self, snapshot: Snapshot, walk: Walk[SeriesLabels], told: Told) -> Iterator[tuple[bytes, int]]:
        """Yield the fields of requests, and how many points each is the last of."""
        writer = Writer(snapshot.time, self._native)
        tells_metadata = self._tells_metadata(snapshot.time)
        for layout, points, labels, begins in in_slices(walk, looking_every=1):
            if layout is RESOURCE and not snapshot.resource:
                continue
            if begins and tells_metadata:
                yield metadata(layout), 0
            for point, label in zip(points, labels):
                try:
                    names, series = writer.series(layout, point, label)
                except ODD as problem:
                    walk.leave_out_odd(layout, problem)
                    continue
                told[layout.family, label.whole] = (names, label)
                for one in series[:-1]:
                    yield one, 0
                yield series[-1], 0 if layout is RESOURCE else 1
        for key, (names, label) in in_slices(self._told.items()):
            now = told.get(key, _NOTHING)[0]
            if now != names:
                for one in writer.ended([name for name in names if name not in now], label):
                    yield one, 0


def _snappy() -> Callable[[bytes], bytes]:
    try:
        from cramjam import snappy
    except ImportError as error:
        raise ConfigurationError("remote write needs the package cramjam: pip install 'metrics-sdk[remote-write]'") from error
    return lambda content: bytes(snappy.compress_raw(content))


def _exposition(job: Mapping[str, str]) -> Exposition[SeriesLabels]:
    return Exposition(partial(series_labels, job))


def _divided(resource: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the labels of every series, and what is left of the resource."""
    rest = dict(resource)
    namespace, service, instance = [label_text(rest.pop(key, "")) for key in (_NAMESPACE, _SERVICE, _INSTANCE)]
    labels = {"job": f"{namespace}/{service}" if namespace and service else service or namespace, "instance": instance}
    return {name: text for name, text in labels.items() if text}, rest
