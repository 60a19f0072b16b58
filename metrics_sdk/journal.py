"""What an SDK says of its accounting in the log."""

from __future__ import annotations

from collections.abc import Callable

from metrics_sdk.core.scope import Scope
from metrics_sdk.faults import LOGGER, Faults
from metrics_sdk.health import Health, drops_of, told_overflow
from metrics_sdk.streams import Streams


class Journal:
    """Tells what happened while recording, where nothing is logged: later, and at most once a minute of a kind."""

    def __init__(self, streams: Streams, scope: Scope, faults: Faults, health: Callable[[], Health]) -> None:
        self._streams = streams
        self._scope = scope
        self._faults = faults
        self._health = health

    def tell_refused(self) -> None:
        """Log which instruments values were dropped of, and which have too many series: not where it happens."""
        tables = self._streams.all_tables()
        refused = self._scope.refused
        if refused:
            of_series = {id(table.empty): table for table in tables}  # each table's series have one in common
            gone = list(refused)
            refused.clear()
            for series in gone:
                table = of_series.get(id(series.empty))
                if table is None:  # retired
                    continue
                for reason in drops_of(series):
                    self._faults.tell(f"dropped:{reason}:{table.name}", f"values of {table.name!r} are dropped: {reason}")
        for table in tables:
            if table.overflowed:
                table.overflowed = False
                self._faults.tell(f"overflow:{table.name}", told_overflow(table))

    def report(self, level_name: str, which: str = "") -> None:
        """Log the accounting; `which` says of what time."""
        import logging  # 3 ms, which importing this package need not take

        logger, level = logging.getLogger(LOGGER), getattr(logging, level_name)
        if logger.isEnabledFor(level):
            health = self._health()
            logger.log(
                level,
                "%sreport: received %d, merged %d, dropped %s, pending %d, %d series, faults %s",
                which,
                health.received,
                health.merged,
                dict(health.dropped) or 0,
                health.pending,
                health.series,
                dict(health.faults) or 0,
            )
