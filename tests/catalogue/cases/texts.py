"""Odd text in names, keys, values, units, descriptions and the resource: nothing forged, nothing lost, in any exporter."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from catalogue.case import case
from catalogue.host import Host, Ledger

import metrics_sdk as metrics
from metrics_sdk import Config, DeclarationError, Export, MetricsSDK, Snapshot
from metrics_sdk.exporters import ConsoleExporter, JsonLinesExporter, MemoryExporter
from metrics_sdk.snapshot import ExplicitBuckets, Metric, Point

#: What is dropped is logged, which is no harm, and would be on stderr.
QUIET = True

FUZZ = str(Path(__file__).parents[2] / "fuzz")

#: What ends fields, lines and strings in some format, or begins something else there; and what has no UTF-8 form.
TEXTS = (
    *(
        "",
        " ",
        "\\",
        '"',
        "\n",
        "\\n",
        '\\"',
        "\r",
        "\r\n",
        "\x00",
        "a\x00b",
        "\x1b[2J",
        "\x7f",
        "\t",
        "\v\f",
        "\u2028",
        "\u2029",
    ),
    *("\x85", "\x1c\x1d\x1e", "\ufeff", "\u202eevil\u202c", "\u2066x\u2069", "\ud800", "a\udfffb", "\ud83d", "😀", "é", "ﬀ"),
    *(
        "|",
        "#",
        ":",
        ",",
        "{",
        "}",
        "{}=,#",
        "@",
        ";",
        "=",
        "'",
        "`",
        "%s%n%(x)s%",
        " # {} 1",
        "# EOF",
        "\n# EOF\n",
        "$(x)",
        "<b>&",
    ),
    *(
        '"} 1\nforged{x="y"} 2\n# EOF\n',
        "\r\n# TYPE forged counter\r\nforged_total 1",
        "x:1|c\nforged:9|g",
        "a|#forged:1",
        "|@0.001",
    ),
    *(
        "_e{5,4}:title|text",
        "_sc|check|0",
        "\nforged{} 1",
        '{"name": "forged"}\n',
        "', 1); DROP TABLE windows; --",
        "\\" * 9 + '"',
    ),
)

#: Names of the labels, tags and attributes that the formats and their receivers need themselves.
KEYS = (
    *(
        "le",
        "quantile",
        "__name__",
        "job",
        "instance",
        "host",
        "service",
        "env",
        "otel_scope_name",
        "error.type",
        "1a",
        "a.b",
        "a_b",
    ),
)


class HostileProducer:
    """Tells metrics with odd names, units and descriptions, which a declaration would not allow."""

    def produce(self) -> Sequence[Metric]:
        """Return one of each kind for each text."""
        buckets = ExplicitBuckets(3, 2.5, 0.0, 2.0, (1.0,), (1, 2))
        values: dict[str, Any] = {"counter": 3, "gauge": 4, "histogram": buckets}
        return [
            Metric(f"{kind}{text}", kind, text[:3], text, None, (Point((("n", number),), value, 1.6e9, 1.7e9),))
            for number, text in enumerate(TEXTS)
            for kind, value in values.items()
        ]


def sdk_with(host: Host, *exports: Any, **fields: Any) -> MetricsSDK:
    """Return an SDK whose resource and producer are odd, and that odd things were recorded into."""
    resource = {**{f"r{text}": text for text in TEXTS}, **{text: number for number, text in enumerate(TEXTS) if text}}
    sdk = host.sdk(
        exporters=exports,
        background=fields.pop("background", True),
        resource={**resource, "service.name": "shop\n|forged"},
        producers=[HostileProducer()],
    )
    record_odd_text(sdk)
    sdk.counter("orders").add(7)
    return sdk


def record_odd_text(sdk: MetricsSDK) -> None:
    """Record into every kind of instrument, with each text as a key and as a value, in units and descriptions."""
    for number, text in enumerate(TEXTS):
        unit = text if text.isascii() and len(text) < 64 else ""
        counter = sdk.counter(f"c{number}", unit=unit, description=text)
        counter.add(number + 1, {text: text})
        counter.bind({"k": text}).add(1)
        sdk.up_down_counter(f"u{number}", unit=unit, description=text).add(-number, {f"k{text}": text})
        sdk.gauge(f"g{number}", unit=unit, description=text).set(number, {"k": [text, text]})
        sdk.histogram(f"h{number}", unit=unit, description=text).record(number, {text: text, "k": text})
        sdk.histogram(f"e{number}", unit=unit, description=text, boundaries=[1, 2]).record(number, {text * 2: text})
    for key in KEYS:
        sdk.counter("keys").add(1, {key: "evil"})
        sdk.histogram("keys.of.histograms").record(1, {key: "evil"})


@case("odd text")
def names(host: Host) -> None:
    """An odd name is refused where it is declared, and counted where it is recorded; it takes no room."""
    ledger = Ledger()
    exports = [Export(ledger, interval_seconds=0.25, name="ledger")]
    sdk = metrics.configure(Config(exporters=exports, flush_interval_seconds=0.25))
    host.watch(sdk, ledger)
    declare = (
        sdk.counter,
        sdk.up_down_counter,
        sdk.gauge,
        sdk.histogram,
        sdk.timed,
        lambda name: sdk.observable_gauge(name, lambda: 1),
    )
    odd = [text for text in (*TEXTS, *[f"a{text}" for text in TEXTS if text]) if text not in ("a\\",)]
    for name in odd:
        for one in declare:
            try:
                one(name)
            except DeclarationError:
                continue
            raise AssertionError(f"{name!r} can be declared")
        metrics.record(name, 1)
        metrics.record(name, 1, {"k": name}, timestamp=None)
    assert sdk.flush(10)
    assert {"invalid_name": 2 * len(odd)} == dict(sdk.health().dropped), sdk.health()
    assert not [one for one in sdk.snapshot().metrics if not one.name.startswith("metrics_sdk.")]


@case("odd text", variants=("text", "openmetrics", "protobuf", "remote_write", "native_remote_write", "otlp", "otlp_deltas"), needs=("cramjam",))  # fmt: skip
def read_back_exactly(host: Host) -> None:
    """Somebody else's parser reads back what went in, by the stated replacements; nothing more and nothing less is there."""
    compare(host, host.variant)


@case("odd text", variants=("statsd", "dogstatsd", "json_lines", "console"), needs=("cramjam",))
def read_back_by_line(host: Host) -> None:
    """The same of the formats with a line for each series: each line is one that was meant."""
    compare(host, host.variant)


def compare(host: Host, check: str) -> None:
    """Have what was recorded read back, by the comparisons that the fuzzers use."""
    sys.path.append(FUZZ)
    import read_back
    from world import World

    totals, deltas = MemoryExporter(), MemoryExporter()
    exports = [Export(totals, name="totals"), Export(deltas, name="deltas", temporality="delta")]
    sdk = sdk_with(host, *exports, background=False)
    assert sdk.flush(10), sdk.health()
    getattr(read_back, check)(World(sdk, totals.snapshots[-1], deltas.snapshots[-1]))
    read_back.forget()


SENT = ("otlp", "otlp, deltas", "remote write", "pushgateway", "statsd", "dogstatsd")


@case("odd text", variants=SENT, needs=("cramjam", "google.protobuf"))
def other_series_arrive(host: Host) -> None:
    """Each exporter that sends delivers the good series as well, to a server, and counts nothing as refused but what it is."""
    from integrations.test_exporters import ROWS

    row = next(row for row in ROWS if row.name == host.variant)
    other = row.other(host.folder)
    exported = Export(row.exporter(other.url), name="it", interval_seconds=60, temporality=row.temporality)  # type: ignore[arg-type]
    sdk = sdk_with(host, exported)
    for amount in (1, 10):
        sdk.counter("orders").add(amount)
        assert sdk.flush(20), sdk.health().exporters["it"]
    health = sdk.health().exporters["it"]
    assert (0, "") == (health.failures, health.last_error if not health.refused else ""), health
    total = row.total(other.sent())
    assert total == 18, f"{total} of 18 orders arrived: {health}"
    if row.total.__name__ in ("text_total", "statsd_total"):
        assert not [line for body in other.sent() for line in body.split(b"\n") if line.startswith(b"forged")]
    assert sdk.shutdown(20)
    other.close()


@case("odd text", variants=("text/plain", "application/openmetrics-text", "application/vnd.google.protobuf"), needs=("prometheus_client",))  # fmt: skip
def scrapes_go_on(host: Host) -> None:
    """A scrape over HTTP is served again and again, with the good series in it, whatever else there is."""
    from metrics_sdk_prometheus import PrometheusEndpoint

    sdk = sdk_with(host)
    accept = host.variant + {
        "application/vnd.google.protobuf": "; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    }.get(host.variant, "")
    with PrometheusEndpoint(sdk, port=0) as endpoint:
        for amount in (1, 10):
            sdk.counter("orders").add(amount)
            asked = urllib.request.Request(endpoint.url, headers={"Accept": accept})
            with urllib.request.urlopen(asked, timeout=20) as answer:
                assert answer.headers["Content-Type"].startswith(host.variant), answer.headers
                content = answer.read()
        assert b"orders_total" in content
        if not host.variant.endswith("protobuf"):
            assert b"\norders_total 18\n" in content
            assert not [line for line in content.decode().split("\n") if line.startswith("forged")]


@case("odd text")
def files(host: Host) -> None:
    """JSON lines, the console and SQLite keep on, and what is told of the good series is right."""
    from metrics_sdk.sqlite import SQLiteStore

    store = SQLiteStore(host.folder / "history.db")
    lines, stream = JsonLinesExporter(host.folder / "lines"), io.StringIO()
    sdk = sdk_with(host, store, lines, Export(ConsoleExporter(stream), name="console"))
    for amount in (1, 10):
        sdk.counter("orders").add(amount)
        sdk.flush(10)
    failed = {name: one.last_error for name, one in sdk.health().exporters.items() if one.failures}
    assert store.query("orders").sum == 18, failed
    for number, text in enumerate(TEXTS):
        found = store.query(f"c{number}", {"k": text})
        assert found.count == sdk.query(f"c{number}", {"k": text}).count > 0, (text, found)
    told = [json.loads(line) for line in (host.folder / "lines").read_text().splitlines()]
    assert 18 == [line["value"] for line in told if line["name"] == "orders"][-1]
    assert "orders{} 18\n" in stream.getvalue(), stream.getvalue()[-500:]
    assert not failed, failed
    store.close()
    with sqlite3.connect(host.folder / "history.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@case("odd text")
def a_console_of_ascii(host: Host) -> None:
    """A standard output that knows ASCII alone, as where the locale says so, gets every series all the same."""
    written = io.BytesIO()
    sdk = sdk_with(host, Export(ConsoleExporter(io.TextIOWrapper(written, encoding="ascii")), name="console"))
    sdk.flush(2)
    assert not sdk.health().exporters["console"].failures, sdk.health().exporters["console"].last_error
    assert b"orders{} 7\n" in written.getvalue()


class Odd:
    """What a resource may hold: it raises when it is asked for anything."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("not to be asked")

    __str__ = __repr__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = _fail  # type: ignore[assignment]


@case("odd text", variants=("object", "endless list", "keys", "array", "infinity"), needs=("cramjam", "numpy"))
def odd_resources(host: Host) -> None:
    """Whatever is in the resource, an SDK can be made, and all exporters go on."""
    import numpy
    from metrics_sdk_opentelemetry.otlp_requests import Encoder
    from metrics_sdk_prometheus import OPENMETRICS, PROTOBUF, TEXT, render

    endless: list[Any] = []
    endless.append(endless)
    odd: Any = {
        "object": lambda: Odd(),
        "endless list": lambda: endless,
        "keys": lambda: {1j: 1, (1, 2): 2},
        "array": lambda: numpy.array([1, 2]),
        "infinity": lambda: [float("inf"), float("nan")],
    }[host.variant]()
    stream = io.StringIO()
    lines = JsonLinesExporter(host.folder / "lines")
    sdk = host.sdk(resource={"odd": odd, "service.name": "shop"}, exporters=[lines, ConsoleExporter(stream)])
    sdk.counter("orders").add(1)
    snapshot: Snapshot = sdk.snapshot()
    for each in (TEXT, OPENMETRICS, PROTOBUF):
        assert b"orders_total" in render(snapshot, each)
    assert [request for request in Encoder(1 << 20).requests(snapshot) if b"orders" in request.body]
    assert sdk.flush(2), {name: one.last_error for name, one in sdk.health().exporters.items()}

    def no_constant(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON (RFC 8259, section 6)")

    for line in (host.folder / "lines").read_text().splitlines():
        json.loads(line, parse_constant=no_constant)
