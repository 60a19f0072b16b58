"""Rendering: a snapshot in a format, in slices that let other threads run."""

from __future__ import annotations

import time
from collections.abc import Iterator

from metrics_sdk.snapshot import Snapshot

from .exposition import Exposition
from .formats import PROTOBUF, TEXT, Format
from .labels import labels_of
from .messages import messages, pairs_of
from .text import texts

#: How long rendering runs before it lets other threads run. Without, they would wait for the switch interval, 5 ms.
SLICE_SECONDS = 0.0005


class Renderer:
    """Renders snapshots, and remembers what does not change between two of them: names, and the labels of each series.

    Any number of threads may render at a time; no lock is held. Keep one renderer per SDK.
    """

    def __init__(self, *, cached_series: int = 20_000, cached_characters: int = 1000) -> None:
        """Remember at most `cached_series` series, and none with more than `cached_characters` characters of labels.

        A series takes about 400 bytes, and as much again if it is rendered as text and as protobuf; one that is not remembered
        takes about 5 µs more to render.
        """
        self._texts = Exposition(labels_of, cached_series, cached_characters)
        self._messages = Exposition(pairs_of, cached_series, cached_characters)

    @property
    def remembered(self) -> int:
        """The number of series whose labels are remembered."""
        return self._texts.remembered + self._messages.remembered

    def render(self, snapshot: Snapshot, format: Format = TEXT) -> bytes:
        """Return `snapshot` in `format`; text is UTF-8 encoded."""
        return b"".join(self.slices(snapshot, format))

    def slices(self, snapshot: Snapshot, format: Format = TEXT) -> Iterator[bytes]:
        """Yield what is rendered piece by piece; between two pieces other threads get their turn."""
        if format.name == PROTOBUF.name:
            yield from self._bytes(snapshot)
            return
        parts: list[str] = []
        end = time.perf_counter() + SLICE_SECONDS
        for text in texts(self._texts.walk(snapshot), format):
            parts.append(text)
            if time.perf_counter() >= end:
                yield "".join(parts).encode()
                parts.clear()
                time.sleep(0)
                end = time.perf_counter() + SLICE_SECONDS
        yield "".join(parts).encode()

    def _bytes(self, snapshot: Snapshot) -> Iterator[bytes]:
        end = time.perf_counter() + SLICE_SECONDS
        for made in messages(self._messages.walk(snapshot)):
            if made:
                yield made
            if time.perf_counter() >= end:
                time.sleep(0)
                end = time.perf_counter() + SLICE_SECONDS


def render(snapshot: Snapshot, format: Format = TEXT) -> bytes:
    """Return `snapshot` in `format`. Whoever renders again and again keeps a `Renderer`, which is faster."""
    return Renderer().render(snapshot, format)
