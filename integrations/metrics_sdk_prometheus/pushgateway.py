"""A Pushgateway: where what a job leaves behind can be scraped after it has ended."""

from __future__ import annotations

import os
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException

from metrics_sdk.errors import ConfigurationError, ExportError
from metrics_sdk.http_target import TLS, HTTPTarget, Request, busy_or_broken
from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Refused, Snapshot

from .exposition import Exposition
from .formats import TEXT
from .labels import SCOPE, labels_of
from .text import texts

_DELETE_SECONDS = 2.0
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_PLAIN = re.compile(r"[a-zA-Z0-9_-][a-zA-Z0-9_.-]*\Z")


class PushgatewayExporter:
    """Pushes to a Prometheus Pushgateway: for a job that ends before anybody could scrape it.

        Config(exporters=[PushgatewayExporter("http://localhost:9091", job="backup")])

    It pushes every minute and, at the latest, when the process ends: a job that just ends has delivered.

    `endpoint`: the gateway's URL, with its path prefix if it has one. `job` and `grouping` are the labels of the group that the
    metrics are kept under; a value may be any text. Without `grouping` each run of the job takes the place of the one before
    it. That is why no instance is in it: with one, every run would leave a group behind, for good. Give it what tells apart
    jobs that run side by side, such as `{"shard": "3"}`.
    `replace`: whether the group has these metrics alone from then on (PUT), or keeps those of other names (POST).
    `delete_on_shutdown`: whether the group is deleted when the SDK shuts down, right after the last push; then nothing is left
    of a job that has ended. `headers`: sent with each request. `tls`: for https. Raises ConfigurationError for what cannot be.

    A forked child does not push: what it has would take the place of what its parent has. It is counted as refused.

    The gateway sets the labels of the group on every series, whatever these have: so an attribute of such a name becomes
    `exported_…`. It takes a push or refuses all of it, such as one with a metric that is of another type in another group.
    (Version 1.11.0 does not answer in that case, but breaks the connection off, so that it is tried again.) 429, 5xx and no
    answer are tried again; every other answer but 2xx is counted in `health().exporters[…].refused`. What has no place in the
    text format is counted there too.
    """

    temporalities = ("cumulative",)

    def __init__(
        self,
        endpoint: str,
        *,
        job: str,
        grouping: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        tls: TLS | None = None,
        replace: bool = True,
        delete_on_shutdown: bool = False,
    ) -> None:
        group = {"job": job, **_checked(grouping)}
        if not isinstance(job, str) or not job:
            raise ConfigurationError(f"job must be a text that is not empty, not {job!r}")
        if isinstance(endpoint, str) and "?" in endpoint:
            raise ConfigurationError("the endpoint of a Pushgateway has no query")
        path = "/".join(["", "metrics", *[part for name, value in group.items() for part in _in_path(name, value)]])
        self._target = HTTPTarget(
            endpoint.rstrip("/") + path if isinstance(endpoint, str) else endpoint, headers=headers, tls=tls
        )
        self._method = "PUT" if replace else "POST"
        self._pid = os.getpid()
        self._deletes = bool(delete_on_shutdown)
        self._exposition = Exposition(partial(labels_of, reserved=frozenset(group)))

    def __repr__(self) -> str:
        return f"PushgatewayExporter({self._target.endpoint!r})"

    def export(self, snapshot: Snapshot, timeout: float) -> Refused | None:
        """Push everything there is, in one request. Raises ExportError if it was not accepted."""
        points = sum([len(metric.points) for metric in snapshot.metrics])
        if self._pid != os.getpid():
            why = f"{self._target.endpoint}: a forked child does not push over its parent"
            raise ExportError(why, settled=points, refused=points)
        walk = self._exposition.walk(snapshot)
        body = "".join(in_slices(texts(walk, TEXT), looking_every=1)).encode() or b"\n"  # an empty push is one, too
        request = Request(body, points, walk.left_out, walk.why)
        return self._target.deliver(
            [request], timeout, {"Content-Type": TEXT.content_type}, busy_or_broken, method=self._method
        )

    def shutdown(self) -> None:
        """Close the connection; delete the group before, if that was asked for. Raises ExportError if it is not deleted."""
        try:
            if self._deletes and self._pid == os.getpid():
                self._delete()
        finally:
            self._target.close()

    def _delete(self) -> None:
        try:
            answer = self._target.ask("DELETE", b"", {}, time.monotonic() + _DELETE_SECONDS)
        except (OSError, HTTPException) as problem:
            raise ExportError(f"{self._target.endpoint}: the group is not deleted: {problem!r}") from problem
        if not 200 <= answer.status < 300:
            raise ExportError(f"{self._target.endpoint}: the group is not deleted: {answer}")


def _checked(grouping: Mapping[str, str] | None) -> dict[str, str]:
    if grouping is not None and not isinstance(grouping, Mapping):
        raise ConfigurationError(f"grouping must be a mapping of label names to texts, not {grouping!r}")
    for name, value in (grouping or {}).items():
        usable = isinstance(name, str) and _NAME.match(name) and not name.startswith(("__", SCOPE))
        if not usable or name in ("job", "le", "quantile"):
            raise ConfigurationError(f"a group cannot have a label {name!r}")
        if not isinstance(value, str):
            raise ConfigurationError(f"the label {name!r} of a group must be a text, not {value!r}")
    return dict(grouping or {})


def _in_path(name: str, value: str) -> tuple[str, str]:
    """Return a label as two parts of the path; Pushgateway's README, "Using base64 encoding", where it needs that."""
    if _PLAIN.match(value):
        return name, value
    encoded = urlsafe_b64encode(value.encode("utf-8", "replace")).decode().rstrip("=")
    return f"{name}@base64", encoded or "="
