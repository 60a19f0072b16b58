"""Failures of other people's code and of our own loops: counted all, logged once and then at most once a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from metrics_sdk.clock import Clock

LOGGER = "metrics_sdk"
LOG_INTERVAL_SECONDS = 60.0


class Faults:
    """Counts by kind, such as `exporter:JsonLinesExporter` or `callback:pool.size`. Never used while recording."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, tuple[float, int]] = {}

    def report(self, kind: str, what: str, error: BaseException | None = None) -> None:
        """Count a failure, and log it if it is the first of its kind or the last one logged is a minute old."""
        self._counts[kind] += 1
        self._log(kind, what, error)

    def tell(self, kind: str, what: str) -> None:
        """Log what is no failure, as often; it is counted elsewhere."""
        self._log(kind, what, None)

    def _log(self, kind: str, what: str, error: BaseException | None) -> None:
        now = self._clock.monotonic()
        logged = self._logged.get(kind)
        if logged is not None and now - logged[0] < LOG_INTERVAL_SECONDS:
            return
        count = self._counts.get(kind, 0)
        more = f" ({count - logged[1]} times since this was last logged)" if logged is not None and count else ""
        self._logged[kind] = (now, count)
        import logging  # 3 ms, and not before something is wrong

        try:
            cause = f": {type(error).__name__}: {' '.join(str(error).split())}" if error is not None else ""
            logging.getLogger(LOGGER).warning("%s%s%s", what, cause, more)
        except Exception as unloggable:  # an error whose text cannot be had, a handler that raises
            self._counts[f"logging:{type(unloggable).__name__}"] += 1

    def counts(self) -> Mapping[str, int]:
        """Return the number of failures by kind."""
        return dict(self._counts)
