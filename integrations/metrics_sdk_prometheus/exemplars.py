"""Exemplars: one of a counter, and one of each bucket of a histogram that has any.

In text they are put in when it is ready, so that series without exemplars, which most are, cost nothing more.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from metrics_sdk.snapshot import Exemplar

from .labels import escaped, label_texts
from .numerals import number

#: OpenMetrics, "Exemplars": characters that the names and values of an exemplar's labels have together.
MAX_CHARACTERS = 128


def with_exemplars(text: str, exemplars: Sequence[Exemplar], bounds: Sequence[float]) -> str:
    """Return `text`, the lines of one series, with the exemplar of each bucket after the bucket's line; see `by_bucket`.

    Its buckets are the first lines of a series; a counter is one bucket without bounds.
    """
    lines = text.split("\n")  # there is none inside of a line: it is escaped
    for bucket, exemplar in by_bucket(exemplars, bounds).items():
        lines[bucket] += _shown(exemplar)
    return "\n".join(lines)


def by_bucket(exemplars: Sequence[Exemplar], bounds: Sequence[float]) -> dict[int, Exemplar]:
    """Return the newest exemplar of each bucket that has one, by the bucket's place.

    `bounds`: the upper bounds of the buckets, ascending, without the infinite one.
    """
    newest: dict[int, Exemplar] = {}
    for exemplar in exemplars:
        if exemplar.value != exemplar.value:
            continue  # not a number: it is in no bucket
        bucket = bisect_left(bounds, exemplar.value)
        if bucket not in newest or newest[bucket].time <= exemplar.time:
            newest[bucket] = exemplar
    return newest


def _shown(exemplar: Exemplar) -> str:
    # A double quote becomes a single one: a widespread reader, prometheus_client's, takes an escaped one in an exemplar for the
    # end of the text, and then takes what follows for a value, or refuses the whole scrape.
    texts = {name: text.replace('"', "'") for name, text in exemplar_texts(exemplar).items()}
    inner = ",".join([f'{name}="{escaped(text)}"' for name, text in texts.items()])
    time = f" {number(exemplar.time)}" if math.isfinite(exemplar.time) else ""
    return f" # {{{inner}}} {number(exemplar.value)}{time}"


def exemplar_texts(exemplar: Exemplar) -> dict[str, str]:
    """Return the labels that there is room for: the ids, which no attribute takes the place of, then attributes by keys."""
    made: dict[str, str] = {}
    if exemplar.trace_id:
        made["trace_id"] = f"{exemplar.trace_id:032x}"
    if exemplar.span_id:
        made["span_id"] = f"{exemplar.span_id:016x}"
    room = MAX_CHARACTERS - sum([len(name) + len(text) for name, text in made.items()])
    for name, text in label_texts(exemplar.attributes).items():
        size = len(name) + len(text)
        if text and size <= room and name not in made:
            made[name] = text
            room -= size
    return made
