"""Bad values: whatever is recorded, nothing is raised, and each value is taken in or dropped by a rule that is stated."""

from __future__ import annotations

import decimal
import enum
import fractions
import math
import os
import random
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from catalogue.case import case
from catalogue.host import Host, Ledger, check_accounts

import metrics_sdk as metrics
from metrics_sdk import Config, Export, MetricsSDK

# A host that listens to its log: that values are dropped is told there, once a minute, and nowhere else.
#: What is dropped is logged, which is no harm, and would be on stderr.
QUIET = True

INVALID, NON_FINITE, NEGATIVE = "invalid_value", "non_finite", "negative"
LARGEST = 1.7976931348623157e308


class Float(float):
    """A float with arithmetic of its own, none of which works."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("not to be asked")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __lt__ = __le__ = __gt__ = __ge__ = _fail
    __eq__ = __ne__ = __hash__ = __bool__ = __int__ = __str__ = __repr__ = _fail  # type: ignore[assignment]


class FloatWithoutDouble(Float):
    """Neither can it be made a float."""

    __float__ = Float._fail


class IntWithoutDouble(int):
    """An int that cannot be made a float, or compared."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("not to be asked")

    __float__ = __index__ = __int__ = __add__ = __radd__ = __sub__ = __lt__ = __le__ = __ge__ = __gt__ = _fail


class OddFloat(float):
    """Says that it is another number, of its own class."""

    def __float__(self) -> float:
        return OddFloat(7.0)


class Classless:
    """Raises when it is asked for its class."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class of me")


class Pretender:
    """Says that it is a float, and is none."""

    @property
    def __class__(self) -> Any:
        return float

    def __float__(self) -> float:
        raise RuntimeError("no float of me")


class Duck:
    """Can be made a float; a closed list of classes is what numbers are."""

    def __float__(self) -> float:
        return 1.0


class Five(enum.IntEnum):
    FIVE = 5


def rules() -> list[tuple[Any, float | str]]:
    """Return values, each with the double that it stands for or the reason that it is dropped for.

    -1 and -(2**63) are dropped as negative where amounts must not be; see `rule_for`.
    """
    made: list[tuple[Any, float | str]] = [
        *[(odd, INVALID) for odd in (None, "abc", "1", b"1", object(), 1j, (), [1], {}, ..., NotImplemented, float, math.sin)],
        *[
            (number, float(number))
            for number in (0, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**300, True, False, Five.FIVE)
        ],
        *[(number, number) for number in (0.5, 5e-324, 1e308)],
        *[(number, float(number)) for number in (-1, -0.5, -(2**63), -(2**64))],
        *[(large, INVALID) for large in (10**400, -(10**400), fractions.Fraction(10**400), 1 << 100_000)],
        *[(odd, NON_FINITE) for odd in (math.nan, math.inf, -math.inf, decimal.Decimal("NaN"), decimal.Decimal("-Infinity"))],
        (decimal.Decimal("1.5"), 1.5),
        (decimal.Decimal("sNaN"), INVALID),
        (fractions.Fraction(1, 4), 0.25),
        (Float(1.5), 1.5),
        (FloatWithoutDouble(2.5), 2.5),
        (Float(math.nan), NON_FINITE),
        (IntWithoutDouble(3), 3.0),
        (OddFloat(4.5), 4.5),
        (Classless(), INVALID),
        (Pretender(), INVALID),
        (Duck(), INVALID),
    ]
    return made


def numpy_rules() -> list[tuple[Any, float | str]]:
    """Return the same of NumPy: its real scalars are numbers, and its arrays, complex numbers and dates are none."""
    import numpy

    class Single(numpy.float32):
        def __float__(self) -> float:
            raise RuntimeError("not to be asked")

    class Double(numpy.float64):
        def __float__(self) -> float:
            raise RuntimeError("not to be asked")

    return [
        *[(numpy.float32(1.5), 1.5), (numpy.float64(1.5), 1.5), (numpy.float16(1.5), 1.5), (numpy.longdouble(1.5), 1.5)],
        *[(numpy.int8(3), 3.0), (numpy.int64(2**62), 2.0**62), (numpy.uint64(2**64 - 1), 2.0**64), (numpy.bool_(True), 1.0)],
        *[(numpy.float64("nan"), NON_FINITE), (numpy.float32("inf"), NON_FINITE), (numpy.longdouble("1e4000"), NON_FINITE)],
        *[(numpy.complex64(1 + 2j), INVALID), (numpy.complex128(1), INVALID), (numpy.datetime64("2020-01-01"), INVALID)],
        *[(numpy.array(1.5), INVALID), (numpy.array([1.5]), INVALID), (numpy.arange(3), INVALID), (numpy.str_("1"), INVALID)],
        *[(Single(1.5), INVALID), (Double(1.5), 1.5)],
    ]


def rule_for(rule: float | str, monotonic: bool) -> float | str:
    """Return what becomes of a value in an instrument that takes no negative amounts, or does."""
    return NEGATIVE if monotonic and not isinstance(rule, str) and rule < 0 else rule


def default_sdk(host: Host) -> MetricsSDK:
    """Return the process-wide SDK, which `metrics.record` goes to, with a ledger."""
    ledger = Ledger()
    exports = [Export(ledger, interval_seconds=0.25, name="ledger")]
    sdk = metrics.configure(Config(exporters=exports, flush_interval_seconds=0.25))
    host.watch(sdk, ledger)
    return sdk


def declared(kind: str) -> Any:
    """Return an instrument of the process-wide SDK."""
    if kind == "explicit":
        return metrics.histogram("it", boundaries=[0.0, 1.0, 1e9])
    return getattr(metrics, kind)("it")


KINDS = ("counter", "up_down_counter", "gauge", "histogram", "explicit")
VERBS = {"counter": "add", "up_down_counter": "add", "gauge": "set", "histogram": "record", "explicit": "record"}

Way = Callable[[Any, dict[str, Any]], None]


def ways(instrument: Any, kind: str) -> dict[str, Way]:
    """Return every way to record a value of one's own with an instrument called "it"."""
    verb = VERBS[kind]
    return {
        verb: lambda value, attributes: getattr(instrument, verb)(value, attributes),
        "put": lambda value, attributes: instrument.put(value, attributes),
        "bound": lambda value, attributes: getattr(instrument.bind(attributes), verb)(value),
        "record": lambda value, attributes: metrics.record("it", value, attributes),
        "put_at": lambda value, attributes: instrument.put_at(time.time(), value, attributes),
        "record, timestamp": lambda value, attributes: metrics.record("it", value, attributes, timestamp=time.time() - 30),
    }


def show(value: object) -> str:
    """Return what a value is called in a failure."""
    try:
        return f"{type(value).__name__} {value!r:.60}"
    except Exception:
        return type(value).__name__


def tried(
    instrument: Any, kind: str, values: list[tuple[Any, float | str]]
) -> tuple[list[str], Counter[str], dict[Any, float]]:
    """Record every value in every way, each in a series of its own; return what was raised, and what should have come of it."""
    raised: list[str] = []
    drops: Counter[str] = Counter()
    taken: dict[Any, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning reaches the host as well
        for way, record in ways(instrument, kind).items():
            for number, (value, rule) in enumerate(values):
                outcome = rule_for(rule, kind == "counter")
                if isinstance(outcome, str):
                    drops[outcome] += 1
                else:
                    taken[way, number] = outcome
                try:
                    record(value, {"way": way, "number": number})
                except Exception as error:
                    raised.append(f"{way} of {show(value)}: {error!r}")
    return raised, drops, taken


def check(kind: str, values: list[tuple[Any, float | str]]) -> None:
    """Try them all with an instrument of one kind."""
    raised, drops, taken = tried(declared(kind), kind, values)
    assert not raised, "\n".join([f"{len(raised)} calls raised:", *raised])
    assert metrics.flush(10)
    found = {(dict(key)["way"], dict(key)["number"]): one for key, one in metrics.query_all()["it"].items()}
    odd = {key: (taken.get(key), found[key].sum if key in found else None) for key in {*taken, *found}}
    odd = {
        key: pair for key, pair in odd.items() if key not in taken or key not in found or pair[0] != float(pair[1])
    }  # ints stay exact
    assert not odd, "\n".join([f"{way} of {show(values[at][0])}: {pair}" for (way, at), pair in odd.items()])
    assert all([one.count == 1 for one in found.values()])
    health = metrics.health()
    assert dict(drops) == dict(health.instruments["it"].dropped), (drops, health.instruments["it"])
    assert health.instruments["it"].received == sum(drops.values()) + len(taken)
    check_accounts(health)


@case("bad values", variants=KINDS)
def bad_values(host: Host) -> None:
    """Every value that is no number, or an odd one, in every way to record: no raise, and the stated rule holds for each."""
    default_sdk(host)
    check(host.variant, rules())


@case("bad values", variants=KINDS, needs=("numpy",))
def bad_numpy_values(host: Host) -> None:
    """The same of NumPy's scalars and arrays, of classes derived from them, and with NumPy imported for all others."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # its threads would be taken for something that we left behind
    default_sdk(host)
    check(host.variant, [*numpy_rules(), *rules()])


@case("bad values", variants=("observable_counter", "observable_up_down_counter", "observable_gauge"))
def bad_observations(host: Host) -> None:
    """A callback answers with every bad value: each is dropped for its reason, and costs none of the others."""
    sdk = host.sdk(background=False)
    values = rules()
    asked: list[None] = []

    def callback() -> Iterator[tuple[Any, dict[str, Any]]]:
        asked.append(None)
        return iter([(value, {"number": number}) for number, (value, _) in enumerate(values)])

    getattr(sdk, host.variant)("it", callback)
    found = {dict(key)["number"]: one for key, one in sdk.query_all()["it"].items()}
    outcomes = [rule_for(rule, host.variant == "observable_counter") for _, rule in values]
    wanted = {number: rule for number, rule in enumerate(outcomes) if not isinstance(rule, str)}
    odd = {show(values[n][0]): n in found for n in {*wanted, *found} if (n in wanted) is not (n in found)}
    assert not odd, (odd, sdk.health().faults)
    is_gauge = host.variant == "observable_gauge"
    odd = {
        show(values[n][0]): (rule, found[n])
        for n, rule in wanted.items()
        if rule != float(found[n].last if is_gauge else found[n].sum)
    }
    assert not odd, odd
    dropped = Counter([rule for rule in outcomes if isinstance(rule, str)])
    assert {reason: times * len(asked) for reason, times in dropped.items()} == dict(sdk.health().instruments["it"].dropped)
    assert not sdk.health().faults, sdk.health().faults


@case("bad values")
def odd_answers_of_callbacks(host: Host) -> None:
    """Callbacks that answer with what is no observation cost themselves alone: others are asked, and the fault is counted."""
    sdk = host.sdk(background=False)

    def breaking_off() -> Iterator[tuple[float, dict[str, Any]]]:
        yield 1.0, {"before": True}
        raise RuntimeError("broken off")

    answers: list[Any] = [
        None,
        "abc",
        object(),
        [1, 2],
        [(1,)],
        [(1, {}, 3)],
        {"a": 1},
        Classless(),
        [(1, 5)],
        [((), ())],
        [None],
    ]
    for number, answer in enumerate(answers):
        sdk.observable_gauge(f"odd{number}", lambda answer=answer: answer)
    sdk.observable_counter("breaking", breaking_off)
    sdk.observable_counter("good", lambda: 5)
    assert sdk.flush(10)
    assert host.ledger(sdk).total("good") == 5
    assert sdk.health().faults, "a callback that fails is counted"
    assert set(sdk.health().faults) <= {f"callback:odd{number}" for number in range(len(answers))} | {"callback:breaking"}


@case("NaN, infinities, negative zero, sums beyond all doubles", variants=KINDS)
def non_finite(host: Host) -> None:
    """NaN and infinities are dropped; 1e308 twice is the largest double; what comes after these is counted as before."""
    default_sdk(host)
    instrument = declared(host.variant)
    for way, record in ways(instrument, host.variant).items():
        for value in (math.nan, math.inf, -math.inf, -0.0, 1e308, 1e308, 1.0):
            record(value, {"way": way})
    assert metrics.flush(10)
    health = metrics.health().instruments["it"]
    number = len(ways(instrument, host.variant))
    assert {NON_FINITE: 3 * number} == dict(health.dropped), health
    for key, found in metrics.query_all()["it"].items():
        assert found.count == 4, (key, found)
        numbers = [found.sum, found.mean, found.rate, found.min, found.max, found.last, found.percentile(50)]
        assert all([one is None or math.isfinite(one) for one in numbers]), (key, numbers)
        assert found.sum == LARGEST, (key, found.sum)
    for metric in [one for one in metrics.snapshot().metrics if one.name == "it"]:
        for point in metric.points:
            value: Any = point.value
            total = value.sum if isinstance(value, tuple) else value
            assert math.isfinite(total), point
    # One series may be added up from several that are at the end of all doubles.
    assert metrics.query("it").sum == LARGEST


@case("bad values")
def negative_zero_is_zero(host: Host) -> None:
    """-0.0 is taken in as a zero wherever 0 is."""
    sdk = host.sdk()
    for instrument in (sdk.counter("c"), sdk.up_down_counter("u"), sdk.gauge("g"), sdk.histogram("h")):
        instrument.put(-0.0)
        found = sdk.query(instrument.name)
        assert (found.count, found.sum) == (1, 0.0), found
        assert not sdk.health().instruments[instrument.name].dropped


# ---- generated ----------------------------------------------------------------------------------------------------------


class Raising:
    """Has no text, no hash, no equal and no class."""

    def _fail(self, *_: object) -> Any:
        raise ValueError("not to be asked")

    __str__ = __repr__ = __hash__ = __eq__ = __len__ = __iter__ = __bool__ = __float__ = _fail  # type: ignore[assignment]


def pools(chance: random.Random) -> tuple[list[Any], list[Any], list[Any]]:
    """Return values, attributes and names to choose from."""
    values = [value for value, _ in rules()] + [Raising(), chance.random(), chance.randrange(1 << 70), types.SimpleNamespace()]
    endless: list[Any] = []
    endless.append(endless)
    texts = ["", "a", "\ud800", "\x00", "\r\n", "\u2028", '"} 1\nforged 2', "|#:,@\\{}", "é", "x" * 5000]
    odd = [None, 1, 1.0, True, b"x", object(), (), Raising(), Float(1.0), IntWithoutDouble(1), endless, {"a": endless}, {1, 2}]
    attributes: list[Any] = [
        None,
        {},
        "text",
        5,
        [("a", 1)],
        object(),
        Raising(),
        Classless(),
        types.MappingProxyType({"a": 1}),
    ]
    for _ in range(100):
        keys = [chance.choice([*texts, None, 1, b"k", (1,), 2.5, object()]) for _ in range(chance.randrange(6))]
        attributes.append({key: chance.choice([*texts, *odd]) for key in keys})
    names = [
        "it",
        "IT",
        "made.up",
        "9",
        "",
        "a b",
        "metrics_sdk.own",
        "\ud800",
        None,
        5,
        b"it",
        Raising(),
        Classless(),
        "x" * 300,
    ]
    return values, attributes, names


@case("bad values", deadline=120)
def generated_calls(host: Host) -> None:
    """100,000 calls that chance puts together of all that is hostile: none raises, and every value is accounted for."""
    default_sdk(host)
    chance = random.Random(20_010_911)
    values, attributes, names = pools(chance)
    raised: Counter[str] = Counter()
    instruments: list[tuple[Any, str]] = [
        *[(getattr(metrics, kind)(kind), VERBS[kind]) for kind in KINDS[:4]],
        (metrics.histogram("explicit", boundaries=[1, 2]), "record"),
    ]
    stamps = [time.time(), 0, -1, None, "now", math.nan, 1e308, 10**400, Raising(), Classless()]
    calls = host.size(20_000, 100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(calls):
            instrument, verb = chance.choice(instruments)
            value, given, way = chance.choice(values), chance.choice(attributes), chance.randrange(6)
            try:
                if way == 0:
                    metrics.record(chance.choice(names), value, given)
                elif way == 1:
                    metrics.record(chance.choice(names), value, given, timestamp=chance.choice(stamps))
                elif way == 2:
                    instrument.put_at(chance.choice(stamps), value, given)
                elif way == 3:
                    getattr(instrument.bind(given), verb)(value)
                else:
                    getattr(instrument, verb)(value, given)
            except Exception as error:
                raised[f"{('record', 'record at', 'put_at', 'bind', verb, verb)[way]} raises {error!r:.100}"] += 1
    assert not raised, f"{raised.total()} of {calls} calls raised: {dict(raised)}"
    assert metrics.flush(20)
    health = metrics.health()
    # `timestamp=None` is none. A call that raises nothing records exactly one value.
    assert health.received == calls, (health.received, calls)
    check_accounts(health)
