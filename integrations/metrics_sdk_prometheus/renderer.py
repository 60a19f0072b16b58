"""Rendering: a snapshot in a format, in slices that let other threads run."""

from __future__ import annotations

from metrics_sdk.slices import in_slices
from metrics_sdk.snapshot import Snapshot

from .exposition import Exposition
from .formats import PROTOBUF, TEXT, Format
from .labels import labels_of
from .messages import messages, pairs_of
from .text import texts


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
        """Return `snapshot` in `format`; text is UTF-8 encoded. Other threads get their turn meanwhile."""
        if format.name == PROTOBUF.name:
            return b"".join(in_slices(messages(self._messages.walk(snapshot)), looking_every=1))
        return "".join(in_slices(texts(self._texts.walk(snapshot), format), looking_every=1)).encode()


def render(snapshot: Snapshot, format: Format = TEXT) -> bytes:
    """Return `snapshot` in `format`. Whoever renders again and again keeps a `Renderer`, which is faster."""
    return Renderer().render(snapshot, format)
