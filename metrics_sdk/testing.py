"""What tests of instrumented code need: a clean process-wide SDK for one test, a clock to move, assertions that help.

Under pytest use the fixture `isolated_metrics`, which comes with the package:

    def test_checkout_counts_orders(isolated_metrics):
        checkout(cart)
        isolated_metrics.assert_sum("orders", 1, {"currency": "EUR"})
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from metrics_sdk import default
from metrics_sdk.clock import ManualClock
from metrics_sdk.config import Config
from metrics_sdk.core.instruments import Attributes
from metrics_sdk.errors import UnknownInstrument
from metrics_sdk.export import Export
from metrics_sdk.exporters.memory import MemoryExporter
from metrics_sdk.interval import Seconds
from metrics_sdk.query import Aggregate
from metrics_sdk.sdk import MetricsSDK
from metrics_sdk.snapshot import Snapshot

__all__ = ["IsolatedMetrics", "ManualClock", "MemoryExporter", "isolated"]


class IsolatedMetrics:
    """A process-wide SDK of a test's own, without threads, on a clock that the test moves.

    `sdk`: the MetricsSDK; `clock`: its ManualClock; `exporter`: a MemoryExporter that gets a snapshot with every `flush()`.
    """

    def __init__(self, sdk: MetricsSDK, clock: ManualClock, exporter: MemoryExporter) -> None:
        self.sdk = sdk
        self.clock = clock
        self.exporter = exporter

    def query(self, name: str, attributes: Attributes | None = None, *, last: Seconds | None = None) -> Aggregate:
        """Return what was recorded under `name` in this test."""
        return self.sdk.query(name, attributes, last=last)

    def flush(self) -> Snapshot:
        """Flush, and return the snapshot that the exporter got."""
        self.sdk.flush()
        return self.exporter.snapshots[-1]

    def assert_count(self, name: str, expected: int, attributes: Attributes | None = None) -> None:
        """Assert how many values were recorded."""
        self._assert("count", name, expected, attributes)

    def assert_sum(self, name: str, expected: float, attributes: Attributes | None = None) -> None:
        """Assert what the values recorded add up to."""
        self._assert("sum", name, expected, attributes)

    def assert_last(self, name: str, expected: float, attributes: Attributes | None = None) -> None:
        """Assert what a gauge was set to last."""
        self._assert("last", name, expected, attributes)

    def assert_not_recorded(self, name: str, attributes: Attributes | None = None) -> None:
        """Assert that nothing was recorded, whether or not the name was declared."""
        with contextlib.suppress(UnknownInstrument):
            self._assert("count", name, 0, attributes)

    def _assert(self, what: str, name: str, expected: float, attributes: Attributes | None) -> None:
        found = getattr(self.sdk.query(name, attributes), what)
        if found != expected:
            shown = "" if attributes is None else f" {dict(attributes)}"
            raise AssertionError(f"expected a {what} of {expected} of {name}{shown}, found {found}{self._recorded(name)}")

    def _recorded(self, name: str) -> str:
        series = self.sdk.query_all().get(name, {})
        lines = [f"\n  {dict(attributes)}: {aggregate}" for attributes, aggregate in series.items()]
        return "; recorded was:" + "".join(lines) if lines else "; nothing was recorded"


@contextlib.contextmanager
def isolated(config: Config | None = None) -> Iterator[IsolatedMetrics]:
    """Give the process a clean SDK for the duration of the block; every instrument, old or new, records into it.

    `config` is used as given but for three fields: no thread is started, time comes from a ManualClock, and a MemoryExporter
    takes the place of the exporters. Afterwards all is as it was; instruments that were declared in the block, by a module that
    it imported, say, go on, but a later declaration may contradict theirs.
    """
    clock = ManualClock()
    exporter = MemoryExporter()
    before = default.current()
    registry = before.registry
    known = set(registry.declared)
    given = vars(config if config is not None else Config())
    exports = [Export(exporter, name="memory")]
    config = Config(**{**given, "background": False, "clock": clock, "exporters": exports})
    sdk = default.replace_current(config)
    try:
        yield IsolatedMetrics(sdk, clock, exporter)
    finally:
        registry.loosen_all_but(known)
        default.restore(before)
        sdk.shutdown()
