"""Labels: the text of an attribute set."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from metrics_sdk.snapshot import Meter

_NOT_IN_KEYS = re.compile(r"[^a-zA-Z0-9]+")  # `_` too, so that its runs collapse: no name can begin with `__`
_RESERVED = ("le", "quantile")

#: What labels begin with that tell of a meter.
SCOPE = "otel_scope_"

UNPRINTABLE = "<unprintable>"


class AnyLabels(Protocol):
    """The labels of one series, as a format writes them."""

    @property
    def attributes(self) -> object:
        """Those they were made from."""

    @property
    def whole(self) -> str | bytes:
        """All of them as one: series that have the same look alike."""


class Labels(NamedTuple):
    """Labels as text, twice: `whole` is in braces, `inner` is what stands before a histogram's `le`.

    Both are parts of %-templates, so each `%` is doubled.
    """

    attributes: object
    whole: str
    inner: str


class Scope(NamedTuple):
    """What tells of a meter in the labels of its series: texts by names, and those as `Labels.inner` has them."""

    texts: Mapping[str, str]
    inner: str


def labels_of(attributes: Sequence[tuple[str, Any]], scope: Scope | None = None, reserved: Collection[str] = ()) -> Labels:
    """Return the labels of an attribute set, sorted by key, after those of the meter, if there is one; see `label_texts`.

    An empty value is left out: to Prometheus it is the same series ("Data model", Prometheus documentation).
    """
    inner = _inner(label_texts(attributes, scope is not None, reserved))
    if scope is not None:
        inner = scope.inner + inner
    return Labels(attributes, f"{{{inner[:-1]}}}" if inner else "", inner)


def scope_of(meter: Meter) -> Scope:
    """Return what tells of `meter` in the labels of its series, which may be nothing.

    They are those of OpenTelemetry's "Prometheus and OpenMetrics Compatibility": an attribute of the meter whose label would be
    that of its name, version or schema URL is left out.
    """
    about = {"name": meter.name, "version": meter.version, "schema_url": meter.schema_url}
    own = {SCOPE + key: "" if value is None else label_text(value) for key, value in about.items()}
    texts = {**label_texts([(f"{SCOPE}{key}", value) for key, value in meter.attributes]), **own}
    return Scope(texts, _inner(texts))


def _inner(texts: dict[str, str]) -> str:
    return "".join([f'{name}="{escaped(text)}",' for name, text in texts.items() if text]).replace("%", "%%")


def label_texts(
    attributes: Sequence[tuple[str, Any]], has_scope: bool = False, reserved: Collection[str] = ()
) -> dict[str, str]:
    """Return the names of the labels of an attribute set, sorted by key, with their texts, not escaped, empty ones too.

    Values of keys that become the same label name are joined with `;` in the order of the keys. Names that somebody else needs
    become `exported_…`, as Prometheus has it: those that are `reserved`, and, where `has_scope`, those that tell of a meter.
    """
    made: dict[str, str] = {}
    for key, value in sorted(attributes, key=_first):
        name = label_name(key)
        if name in reserved or (has_scope and name.startswith(SCOPE)):
            name = f"exported_{name}"
        text = label_text(value)
        made[name] = f"{made[name]};{text}" if name in made else text
    return made


def label_name(key: str) -> str:
    """Return the name of the label for an attribute key: of Prometheus's legacy character set, and none of the reserved ones.

    `le` and `quantile` become `exported_le` and `exported_quantile`, as Prometheus itself renames labels that it needs.
    """
    made = _NOT_IN_KEYS.sub("_", key)
    if made[:1].isdigit():
        return f"_{made}"
    return f"exported_{made}" if made in _RESERVED else made or "_"


def label_text(value: object) -> str:
    """Return the text of an attribute value: booleans in lower case, sequences as JSON. Never raises.

    What can't be encoded as UTF-8 (lone surrogates) becomes "?".
    """
    try:
        if isinstance(value, str):
            text = str.__str__(value)
        elif isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, (tuple, list)):
            text = json.dumps(value, ensure_ascii=False, default=str)
        else:
            text = str(value)
        return encodable(text)
    except Exception:  # resource values may be any object, and it may do anything when asked for its text
        return UNPRINTABLE


def encodable(text: str) -> str:
    """Return `text` with "?" for what has no UTF-8 form."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def escaped(text: str) -> str:
    """Return `text` as it stands between the quotes of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _first(item: tuple[str, Any]) -> str:
    return item[0]
