"""Bad attributes: whatever they are and do when they are looked at, the value is recorded, with a fixed replacement."""

from __future__ import annotations

import collections
import threading
import time
import types
from collections.abc import Callable
from typing import Any

from catalogue.case import case
from catalogue.host import Host, Ledger, check_accounts

import metrics_sdk as metrics
from metrics_sdk import Config, Export, MetricsSDK

#: What is dropped is logged, which is no harm, and would be on stderr.
QUIET = True

NOTHING_READABLE = {"metrics_sdk.attributes": "invalid"}
UNPRINTABLE = "<unprintable>"


def default_sdk(host: Host, **fields: Any) -> MetricsSDK:
    """Return the process-wide SDK, which `metrics.record` and `metrics.timed` go to, with a ledger."""
    ledger = Ledger()
    exports = [*fields.pop("exporters", ()), Export(ledger, interval_seconds=0.25, name="ledger")]
    sdk = metrics.configure(Config(exporters=exports, flush_interval_seconds=0.25, **fields))
    host.watch(sdk, ledger)
    return sdk


def timed(attributes: Any) -> None:
    with metrics.timed("timed", attributes):
        pass


def timed_function(attributes: Any) -> None:
    metrics.timed("timed", attributes)(lambda: None)()


def timer(attributes: Any) -> None:
    with metrics.histogram("histogram").time(attributes):
        pass


#: Every way to give attributes; each records one value into a name of its own.
WAYS: dict[str, Callable[[Any], None]] = {
    "counter": lambda given: metrics.counter("counter").add(1, given),
    "up_down_counter": lambda given: metrics.up_down_counter("up_down_counter").add(1, given),
    "gauge": lambda given: metrics.gauge("gauge").set(1, given),
    "histogram": lambda given: metrics.histogram("histogram").record(1, given),
    "bound": lambda given: metrics.counter("bound").bind(given).add(1),
    "bound twice": lambda given: metrics.counter("bound.twice").bind({"z": 1}).bind(given).add(1),
    "record": lambda given: metrics.record("record", 1, given),
    "record at": lambda given: metrics.record("record.at", 1, given, timestamp=time.time() - 30),
    "put_at": lambda given: metrics.counter("put.at").put_at(time.time(), 1, given),
    "timed": timed,
    "timed function": timed_function,
    "timer": timer,
}


class Raising:
    """Raises whatever is asked of it."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("not to be asked")

    __str__ = __repr__ = __hash__ = __eq__ = __len__ = __iter__ = __bool__ = __float__ = _fail  # type: ignore[assignment]


class Classless:
    """Raises when it is asked for its class, and has a text."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class of me")

    def __str__(self) -> str:
        return "classless"


class Text(str):
    """A text whose methods are somebody else's."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("not to be asked")

    __str__ = __repr__ = __len__ = encode = isascii = __getitem__ = _fail  # type: ignore[assignment]


class NotItems(collections.UserDict[str, Any]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("no items")


class Key:
    """A key with a text, that equals nothing, and raises when it is asked."""

    def __init__(self, hashed: int) -> None:
        self.hashed = hashed

    def __hash__(self) -> int:
        return self.hashed

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equal of me")

    def __str__(self) -> str:
        return f"key {self.hashed}"


def replacements() -> list[tuple[Any, dict[str, Any]]]:
    """Return attributes with what they are recorded as."""
    endless: list[Any] = [1]
    endless.append(endless)
    endless_dict: dict[str, Any] = {}
    endless_dict["a"] = endless_dict
    return [
        ({None: 1, 2: "b", b"c": 3}, {"None": 1, "2": "b", "b'c'": 3}),
        ({(1, "a"): 1, 2.5: 2, False: 3}, {"(1, 'a')": 1, "2.5": 2, "False": 3}),
        ({Key(1): 1, Key(2): 2}, {"key 1": 1, "key 2": 2}),
        ({"k": None, "l": b"x", "m": {"a": 1}}, {"k": "None", "l": "b'x'", "m": "{'a': 1}"}),
        ({"k": 10**30, "l": 2**63, "m": -(2**63)}, {"k": str(10**30), "l": str(2**63), "m": -(2**63)}),
        ({"k": 10**5000, "l": float("nan"), "m": float("inf")}, {"k": UNPRINTABLE, "l": "nan", "m": float("inf")}),
        ({"k": [1, "a", None], "l": (True, 2.5)}, {"k": (1, "a", "None"), "l": (True, 2.5)}),
        ({"k": Raising()}, {"k": UNPRINTABLE}),
        ({"k": [Raising(), 1]}, {"k": (UNPRINTABLE, 1)}),
        ({"k": {"a": Raising()}}, {"k": UNPRINTABLE}),
        ({"k": Classless()}, {"k": "classless"}),
        ({"k": Text("text")}, {"k": "text"}),
        ({"k": endless_dict}, {"k": "{'a': {...}}"}),
        ({"k": [[[[[1]]]]]}, {"k": (((("[1]",),),),)}),
        ({"": ""}, {"": ""}),
        ("text", NOTHING_READABLE),
        (5, NOTHING_READABLE),
        ([("a", 1)], NOTHING_READABLE),
        (object(), NOTHING_READABLE),
        (Raising(), NOTHING_READABLE),
        (Classless(), NOTHING_READABLE),
        (NotItems(a=1), NOTHING_READABLE),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        (collections.Counter("a"), {"a": 1}),
    ]


@case("bad attributes", variants=tuple(WAYS))
def replaced(host: Host) -> None:
    """Keys and values that are none, in every way to record: nothing is raised, and each has its fixed replacement."""
    sdk = default_sdk(host)
    record = WAYS[host.variant]
    raised = []
    for given, wanted in replacements():
        wanted = {**wanted, "z": 1} if host.variant == "bound twice" else wanted
        for _ in (1, 2):  # at first sight, and known
            before = counted(sdk, wanted)
            try:
                record(given)
            except Exception as error:
                raised.append(f"{wanted} raised {error!r}")
                continue
            if counted(sdk, wanted) != before + 1:
                raised.append(f"{wanted} is not what was recorded, but one of {told(sdk)[-1:]}")
    assert not raised, "\n".join(raised)
    assert not sdk.health().dropped
    assert sdk.flush(10)


def told(sdk: MetricsSDK) -> list[Any]:
    """Return the attributes of every series."""
    return [key for series in sdk.query_all().values() for key in series]


def counted(sdk: MetricsSDK, wanted: dict[str, Any]) -> int:
    """Return how many values there are with exactly these attributes."""
    pairs = repr(tuple(sorted(wanted.items())))
    return sum([one.count for series in sdk.query_all().values() for key, one in series.items() if repr(key) == pairs])


@case("bad attributes")
def an_endless_list_ends(host: Host) -> None:
    """A list that contains itself ends, as a key's value and in every way to record, and is the same series each time."""
    sdk = default_sdk(host)
    endless: list[Any] = [1]
    endless.append(endless)
    for record in WAYS.values():
        record({"k": endless})
        record({"k": endless})
    for name, series in sdk.query_all().items():
        assert len(series) == (2 if name in ("timed", "histogram") and len(series) == 2 else 1), (name, series)


@case("bad attributes", variants=("raise", "observable"))
def raising_costs_no_other(host: Host) -> None:
    """What raises when it is looked at costs neither its own value nor anybody else's, in callbacks too."""
    sdk = default_sdk(host)
    if host.variant == "observable":
        observed = [(1, given) for given, _ in replacements()]
        metrics.observable_counter("observed", lambda: observed)
        assert sdk.flush(10)
        assert not sdk.health().faults, sdk.health().faults
        assert host.ledger(sdk).total("observed") == len(observed)
    else:
        known = metrics.counter("c")
        for number in range(1000):
            known.add(1, {"k": Raising(), "n": number % 3} if number % 2 else {"k": "good", "n": number % 3})
        assert sdk.flush(10)
        assert host.ledger(sdk).total("c") == 1000
        assert len(sdk.query_all()["c"]) == 6


class Doing:
    """Does something when it is asked for its text, its hash, or whether it equals."""

    def __init__(self, text: str, do: Callable[[], object]) -> None:
        self.text = text
        self.do = do

    def __str__(self) -> str:
        self.do()
        return self.text

    __repr__ = __str__

    def __hash__(self) -> int:
        self.do()
        return 7

    def __eq__(self, other: object) -> bool:
        self.do()
        return self is other


def given_to(way: str, text: str, do: Callable[[], object]) -> dict[Any, Any]:
    """Return attributes with something that does `do` when it is looked at."""
    one = Doing(text, do)
    return {one: 1} if way == "key" else {"k": [one] if way == "item" else one}


@case("bad attributes", variants=("value", "key", "item"))
def that_sleep(host: Host) -> None:
    """While an attribute's text takes its time no lock is held: others record, declare, query, flush and fork meanwhile."""
    sdk = default_sdk(host)
    counter = metrics.counter("c")
    looked_at, others_done = threading.Event(), threading.Event()
    waited: list[bool] = []
    armed: list[bool] = []

    def sleep() -> None:
        if armed and threading.current_thread() is sleeping:
            looked_at.set()
            waited.append(others_done.wait(20))

    given = given_to(host.variant, "late", sleep)
    sleeping = threading.Thread(target=lambda: counter.add(1, given))
    armed.append(True)
    sleeping.start()
    assert looked_at.wait(20)
    for number in range(1000):
        counter.add(1, {"n": number})
        metrics.record(f"made.up{number % 10}", 1)
    metrics.histogram("declared.meanwhile").bind({"a": 1}).record(1)
    assert metrics.query("c").count == 1000
    assert sdk.flush(10)
    check_accounts(sdk.health())
    others_done.set()
    sleeping.join(20)
    assert waited and all(waited), "others waited for an attribute's text"
    assert metrics.query("c").count == 1001


@case("bad attributes", variants=("value", "key", "item"))
def that_record(host: Host) -> None:
    """An attribute's text, hash and equality record themselves, into the same and new series: exact, and no deadlock."""
    sdk = default_sdk(host)
    counter = metrics.counter("c")
    recorded: list[None] = []
    busy = threading.local()

    def record() -> None:
        if getattr(busy, "depth", 0) < 3:  # it records with what records, three times over
            busy.depth = getattr(busy, "depth", 0) + 1
            try:
                recorded.append(None)
                counter.add(1, given)
                recorded.append(None)
                counter.add(1, {"n": len(recorded)})
                recorded.append(None)
                metrics.record(f"new{len(recorded) % 50}", 1, {"n": len(recorded)})
                if len(recorded) % 97 == 0:
                    sdk.flush(0)
            finally:
                busy.depth -= 1

    busy.depth = 3  # not while it is made
    given = given_to(host.variant, "again", record)
    busy.depth = 0
    for _ in range(host.size(50, 500)):
        recorded.append(None)
        counter.add(1, given)
    assert len(recorded) > 5 * host.size(50, 500)
    assert sdk.flush(10)
    assert sdk.health().received == sdk.health().merged == len(recorded), (sdk.health().received, len(recorded))


class Nameless(type):
    """A class that has no name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name of me")


@case("bad attributes")
def exceptions_with_odd_names(host: Host) -> None:
    """What a timed block raises reaches the host as it is, and is recorded, whatever its class is called."""
    sdk = default_sdk(host)
    odd = ["Späß", 'x"} 1\nforged 2', "|#:,@", "\u202e", "x" * 10_000]
    raised: list[type[Exception]] = [*[type(name, (Exception,), {}) for name in odd], Nameless("Hidden", (Exception,), {})]
    for error in raised:

        @metrics.timed("function")
        def fail(error: type[Exception] = error) -> None:
            raise error

        def block(error: type[Exception] = error) -> None:
            with metrics.timed("block", {"a": 1}):
                raise error

        for call in (fail, block):
            found: BaseException | None = None
            try:
                call()
            except BaseException as raised_by_it:
                found = raised_by_it
            assert type(found) is error, f"the host's exception was replaced by {found!r}"
    assert sdk.flush(10)
    for name in ("function", "block"):
        assert metrics.query(name).count == len(raised), metrics.query(name)
        kinds = [dict(key)["error.type"] for key in metrics.query_all()[name]]  # the name that a class was made with
        assert sorted(kinds) == sorted(["Hidden", *odd[:4], "x" * 4096]), kinds


# ---- identity -----------------------------------------------------------------------------------------------------------

ALIKE: tuple[Any, ...] = (True, 1, 1.0, "1", "1.0", "True", "true", (1,), ("1",), (1.0,), (True,), "(1,)", "[1]", ((1,),))


@case("identity of attributes")
def identity(host: Host) -> None:
    """Order, and whether it is a list or a tuple, makes no difference; a type does, in queries and in totals."""
    sdk = default_sdk(host)
    counter = metrics.counter("c")
    for number, value in enumerate(ALIKE):
        for _ in range(3):
            counter.add(10**number, {"k": value, "l": 1})
            counter.add(10**number, {"l": 1, "k": list(value) if isinstance(value, tuple) else value})
            counter.bind({"l": 1}).bind({"k": value}).add(10**number)
    assert sdk.query("c").count == 9 * len(ALIKE)
    assert sdk.health().instruments["c"].series == len(ALIKE), sdk.health().instruments["c"]
    found = {
        repr(dict(point.attributes)["k"]): point.value
        for metric in sdk.snapshot().metrics
        if metric.name == "c"
        for point in metric.points
    }
    assert found == {repr(value): 9 * 10**number for number, value in enumerate(ALIKE)}, found
    by_value = [sdk.query("c", {"k": value}).sum for value in ALIKE]
    assert by_value == [9 * 10**number for number in range(len(ALIKE))], by_value


@case("identity of attributes", needs=("cramjam",))
def identity_in_exporters(host: Host) -> None:
    """OTLP and JSON lines keep apart what the types keep apart; the others lose nothing of what looks alike there."""
    import json
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).parents[2] / "fuzz"))
    import read_back
    from world import World

    from metrics_sdk.exporters import JsonLinesExporter, MemoryExporter

    totals, deltas = MemoryExporter(), MemoryExporter()
    lines = JsonLinesExporter(host.folder / "lines")
    sdk = host.sdk(
        background=False,
        exporters=[Export(totals, name="totals"), Export(deltas, name="deltas", temporality="delta"), lines],
    )
    for number, value in enumerate(ALIKE):
        sdk.counter("c").add(10**number, {"k": value})
        sdk.histogram("h").record(number + 1, {"k": value})
    assert sdk.flush(10), sdk.health()
    world = World(sdk, totals.snapshots[-1], deltas.snapshots[-1])
    for check in (read_back.otlp, read_back.text, read_back.openmetrics, read_back.protobuf, read_back.remote_write):
        check(world)
    for check in (read_back.statsd, read_back.dogstatsd):
        check(world)
    told = [json.loads(line) for line in (host.folder / "lines").read_text().splitlines()]
    found = {repr(line["attributes"]["k"]): line["value"] for line in told if line["name"] == "c"}
    as_json = [json.loads(json.dumps(value)) for value in ALIKE]
    assert found == {repr(value): 10**number for number, value in enumerate(as_json)}, found
    read_back.forget()


@case("identity of attributes")
def identity_in_sqlite(host: Host) -> None:
    """A store tells apart what the process tells apart, lists in lists too."""
    from metrics_sdk.sqlite import SQLiteStore

    store = SQLiteStore(host.folder / "history.db")
    sdk = host.sdk(background=False, exporters=[store])
    for number, value in enumerate(ALIKE):
        sdk.counter("c").add(10**number, {"k": value})
    assert sdk.flush(10), sdk.health()
    for number, value in enumerate(ALIKE):
        found = store.query("c", {"k": value})
        assert found.sum == 10**number, (value, found)
    by_value = {key: one.sum for key, one in sdk.query_by("c", "k").items()}  # a mapping: 1, 1.0 and True are one key of it
    assert {key: one.sum for key, one in store.query_by("c", "k").items()} == by_value
    store.close()
