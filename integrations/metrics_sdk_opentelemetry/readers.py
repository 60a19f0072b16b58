"""opentelemetry-sdk's readers, unmodified, on our engine: each pulls through a callback, as from its own SDK."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MetricsTimeoutError

from metrics_sdk.sdk import MetricsSDK

from .call import Call
from .points import metrics_data
from .views import Wishes


class ReaderAdapter:
    """Lets one reader collect. What it collected counts as delivered: a reader does not tell what became of it."""

    def __init__(self, reader: Any, sdk: MetricsSDK, resource: Any) -> None:
        """`resource()` returns the Resource of this process."""
        wishes = Wishes(reader)
        self.reader = reader
        self.is_default = wishes.are_default
        self.flushing: Call | None = None  # one that has not returned yet
        self._sdk = sdk
        self._resource = resource
        resource()  # made now: detecting it may need threads, which are not to be had at the interpreter's exit
        if wishes.are_default:
            self._collector = sdk.collector(wishes.temporality)
        else:
            self._collector = sdk.collector(wishes.temporality, wishes.aggregation, wishes.cardinality_limit)

    def attach(self, provider: Any) -> None:
        """Begin: from now on the reader collects here."""
        self.reader._set_collect_callback(self.collect)
        tell = getattr(self.reader, "_set_meter_provider", None)  # newer versions: for metrics of the reader itself
        if tell is not None:
            tell(provider)

    def detach(self) -> None:
        """End."""
        self.reader._set_collect_callback(None)
        self._sdk.release(self._collector)

    def collect(self, reader: Any, timeout_millis: float = 10_000) -> Any:
        """Return what there is, None for nothing. Raises MetricsTimeoutError if that takes too long, and nothing else.

        A periodic reader's thread does not survive other exceptions.
        """
        try:
            snapshot = self._sdk.collect(self._collector, timeout_millis / 1000, acknowledged=True)
            made = metrics_data(snapshot, self._resource())
        except TimeoutError as error:
            raise MetricsTimeoutError(str(error)) from error
        except Exception as error:
            self.failed(error)
            return None
        return made

    def failed(self, error: BaseException) -> None:
        """Count a failure of the reader, or of collecting for it, and log it."""
        name = type(self.reader).__name__
        self._sdk.faults.report(f"reader:{name}", f"the reader {name} failed", error)
