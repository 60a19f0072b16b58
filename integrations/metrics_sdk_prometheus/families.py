"""Families: which instruments share a name, a type and a HELP text, and what of them can be shown at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metrics_sdk.snapshot import ExplicitBuckets, ExponentialBuckets, Metric

from .buckets import exponents_for, finite, powers_of_two
from .formats import Format
from .labels import encodable
from .names import family_name, unit_words
from .numerals import bound

# By kind of instrument; every other kind is a gauge to Prometheus, up-down counters among them. "resource" is no instrument.
_TYPES = {"counter": "counter", "observable_counter": "counter", "histogram": "histogram", "resource": "info"}

# Names that a family of a type uses up, in either format. A second family with one of them would be ambiguous.
_SUFFIXES = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_sum", "_count", "_created"),
    "info": ("", "_info"),
}


class Template(NamedTuple):
    """The text of one series in one format, in pieces between which its labels go; what comes out is a %-template."""

    buckets: tuple[str, ...]
    samples: tuple[str, ...]
    without_sum: tuple[str, ...]


class Layout:
    """How an instrument looks: everything that depends on its declaration alone."""

    __slots__ = ("_headers", "_templates", "exponents", "family", "help", "names", "type", "unit")

    def __init__(self, name: str, kind: str, unit: str, description: str) -> None:
        self.type = _TYPES.get(kind, "gauge")
        words = unit_words(unit)
        self.family = family_name(name, words, self.type == "counter")
        #: The unit in words, if the family's name ends with it.
        self.unit = words if self.family.endswith(f"_{words}") else ""
        self.names = tuple([self.family + suffix for suffix in _SUFFIXES[self.type]])
        self.exponents = exponents_for(words)
        # Readers drop white space around it; without it, what they read is what was written.
        self.help = encodable(description).strip()
        self._headers: dict[str, str] = {}
        self._templates: dict[tuple[str, tuple[float, ...] | None], Template] = {}

    def header(self, format: Format) -> str:
        """Return the HELP, TYPE and UNIT lines."""
        made = self._headers.get(format.name)
        if made is None:
            made = self._headers[format.name] = self._header(format)
        return made

    def _header(self, format: Format) -> str:
        kind, shown = self.type, self.family
        if kind == "counter":
            shown += format.counter_suffix
        elif kind == "info":
            kind, shown = format.resource_type, format.resource_family
        lines = []
        if self.help:
            text = self.help
            for plain, escaped in format.help_escapes:
                text = text.replace(plain, escaped)
            lines.append(f"# HELP {shown} {text}\n")
        lines.append(f"# TYPE {shown} {kind}\n")
        if format.shows_unit and self.unit:
            lines.append(f"# UNIT {shown} {self.unit}\n")
        return "".join(lines)

    def template(self, format: Format, boundaries: tuple[float, ...] | None) -> Template:
        """Return the template of a series, with buckets at `boundaries`, or at powers of two where that is None."""
        key = (format.name, boundaries)
        made = self._templates.get(key)
        if made is None:
            made = self._made(format, boundaries)
            if len(self._templates) < 8:  # in fact an instrument has one per format
                self._templates[key] = made
        return made

    def _made(self, format: Format, boundaries: tuple[float, ...] | None) -> Template:
        created = ("_created",) if format.shows_created else ()
        if self.type == "counter":
            return Template((), self._between("_total", *created), ())
        if self.type in ("gauge", "info"):
            return Template((), self._between(self.names[-1].removeprefix(self.family)), ())
        bounds = self._bounds(boundaries)
        start = f"{self.family}_bucket{{"
        ends = [f'le="{bound(one)}"}} %d\n{start}' for one in bounds]
        return Template(
            (start, *ends, 'le="+Inf"} %d\n'),
            self._between("_sum", "_count", *created),
            self._between(*(("_count",) if format.counts_without_sum else ()), *created),
        )

    def bounds(self, value: object) -> Sequence[float]:
        """Return the upper bounds, without the infinite one, of the buckets at which `value` is shown; a number has none."""
        if isinstance(value, ExplicitBuckets):
            return self._bounds(value.boundaries)
        return self._bounds(None) if isinstance(value, ExponentialBuckets) else ()

    def _bounds(self, boundaries: tuple[float, ...] | None) -> Sequence[float]:
        return powers_of_two(self.exponents) if boundaries is None else finite(boundaries)

    def _between(self, *suffixes: str) -> tuple[str, ...]:
        if not suffixes:
            return ()
        lines = [f" %s\n{self.family}{suffix}" for suffix in suffixes]
        return (lines[0].removeprefix(" %s\n"), *lines[1:], " %s\n")


#: The family that tells what is said of the process: OpenMetrics' "target info".
RESOURCE = Layout("target", "resource", "", "Target metadata.")


class Families:
    """The families of one rendering, in the order in which the first instrument of each was declared."""

    def __init__(self) -> None:
        self._used: dict[str, str] = {}
        self.by_name: dict[str, tuple[Layout, list[Metric]]] = {}

    def add(self, metric: Metric, layout: Layout) -> str:
        """Put `metric` into its family; what is returned says why it is left out: it contradicts an earlier family."""
        known = self.by_name.get(layout.family)
        if known is not None and known[0].type == layout.type:
            known[1].append(metric)
            return ""
        for name in layout.names:
            if name in self._used:
                return f"its name {name!r} is taken by the {self._used[name]}"
        for name in layout.names:
            self._used[name] = f"{layout.type} {layout.family!r}"
        self.by_name[layout.family] = (layout, [metric])
        return ""

    def is_free(self, *names: str) -> bool:
        """Tell whether no family uses any of `names`."""
        return not any([name in self._used for name in names])
