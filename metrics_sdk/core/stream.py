"""What becomes of an instrument's values: which aggregation, under which name, by which of their attributes."""

from __future__ import annotations

from typing import Final, final

from metrics_sdk.core.attributes import Pairs


@final
class Stream:
    """One output of an instrument. Most have one; views, and readers with wishes of their own, ask for others.

    `aggregation`: "sum", "last_value", "explicit" or "exponential"; `boundaries` are those of an explicit histogram,
    `max_buckets` bounds an exponential one per sign. `keep`: the keys of the attributes that count, None for all; `exclude`:
    those that do not. `limit`: attribute sets with a series of their own; the overflow series takes the rest.
    `extremes`: whether min and max are told.
    """

    def __init__(
        self,
        name: str,
        description: str,
        aggregation: str,
        boundaries: tuple[float, ...] | None = None,
        max_buckets: int = 320,
        keep: frozenset[str] | None = None,
        exclude: frozenset[str] = frozenset(),
        limit: int = 2000,
        extremes: bool = True,
    ) -> None:
        self.name: Final = name
        self.description: Final = description
        self.aggregation: Final = aggregation
        self.boundaries: Final = boundaries
        self.max_buckets: Final = max_buckets
        self.keep: Final = keep
        self.exclude: Final = exclude
        self.limit: Final = limit
        self.extremes: Final = extremes

    def likeness(self) -> tuple[object, ...]:
        """Return what two streams of one instrument have in common if one set of series does for both."""
        return (
            self.name.lower(),
            self.description,
            self.aggregation,
            self.boundaries,
            self.max_buckets,
            self.keep,
            self.exclude,
            self.limit,
            self.extremes,
        )

    def kept(self, pairs: Pairs) -> Pairs:
        """Return those of the attributes that count."""
        keep = self.keep
        if keep is None and not self.exclude:
            return pairs
        return tuple([pair for pair in pairs if (keep is None or pair[0] in keep) and pair[0] not in self.exclude])

    def dropped(self, pairs: Pairs) -> Pairs:
        """Return those that do not."""
        kept = self.kept(pairs)
        return tuple([pair for pair in pairs if pair not in kept]) if len(kept) < len(pairs) else ()
