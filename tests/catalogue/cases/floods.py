"""Too much: huge text, more attribute sets and names than there is room for. It costs its own call, and no memory."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from catalogue.case import case
from catalogue.host import Host, Ledger, check_accounts

import metrics_sdk as metrics
from metrics_sdk import Config, DeclarationError, Export, MetricsSDK
from metrics_sdk.errors import TooManyInstruments

#: What is dropped is logged, which is no harm, and would be on stderr.
QUIET = True

MEGABYTE = 1 << 20
CALL_SECONDS = 0.001
#: What one attribute set may come to: 128 attributes with keys of 255 characters and values of 4,096.
MOST_CHARACTERS = 128 * (255 + 4096)


def default_sdk(host: Host, **fields: Any) -> tuple[MetricsSDK, Ledger]:
    """Return the process-wide SDK with its ledger."""
    ledger = Ledger()
    exports = [Export(ledger, interval_seconds=0.25, name="ledger")]
    sdk = metrics.configure(Config(exporters=exports, flush_interval_seconds=0.25, **fields))
    host.watch(sdk, ledger)
    return sdk, ledger


def nested(depth: int, width: int) -> Any:
    """Return a list of lists …, which takes little memory, as all that are beside each other are the same."""
    made: Any = "x"
    for _ in range(depth):
        made = [made] * width
    return made


def branching(width: int) -> list[Any]:
    """Return a list that contains itself several times."""
    made: list[Any] = []
    made.extend([made] * width)
    return made


class Text(str):
    """A text of a class of its own."""


HUGE: dict[str, Callable[[], Any]] = {
    "value of 10 MB": lambda: {"k": "x" * 10 * MEGABYTE},
    "value of 10 MB, not ASCII": lambda: {"k": "é" * 10 * MEGABYTE},
    "value of 10 MB, surrogates": lambda: {"k": "\ud800" * 10 * MEGABYTE},
    "value of 10 MB, of a class": lambda: {"k": Text("x" * 10 * MEGABYTE)},
    "value of 10 MB in a list": lambda: {"k": ["x" * 10 * MEGABYTE] * 100},
    "key of 10 MB": lambda: {"x" * 10 * MEGABYTE: 1},
    "key of 10 MB, not ASCII": lambda: {"é" * 10 * MEGABYTE: 1},
    "10,000 attributes": lambda: {f"k{number}": number for number in range(10_000)},
    "list of a million": lambda: {"k": [1] * 1_000_000},
    "bytes of 10 MB": lambda: {"k": b"\x00" * 10 * MEGABYTE},
    "dict of 100,000": lambda: {"k": {number: number for number in range(100_000)}},
    "set of 100,000": lambda: {"k": set(range(100_000))},
    "lists in lists": lambda: {"k": nested(3, 64)},
    "list that contains itself often": lambda: {"k": branching(10)},
    "lists of long text": lambda: {f"k{number}": ["x" * 4096] * 128 for number in range(16)},
}


@case("huge text", variants=tuple(HUGE))
def huge_attributes(host: Host) -> None:
    """It is cut to a limit, the value is counted, and the call takes at most a millisecond in the median of several."""
    sdk, ledger = default_sdk(host)
    counter = metrics.counter("c")
    times = []
    for number in range(9):
        given = {**HUGE[host.variant](), "n": number}
        started = time.perf_counter()
        counter.add(1, given)
        times.append(time.perf_counter() - started)
    assert sdk.flush(10)
    assert ledger.total("c") == 9
    largest = max([characters(key) for key in sdk.query_all()["c"]])
    assert largest <= MOST_CHARACTERS, f"{largest} characters of attributes are kept"
    median = statistics.median(times)
    assert median <= CALL_SECONDS, f"{1000 * median:.2f} ms for a call: {[f'{1000 * one:.2f}' for one in times]}"


def characters(value: Any) -> int:
    """Return how long the texts of an attribute set are together."""
    if isinstance(value, tuple):
        return sum([characters(one) for one in value])
    return len(value) if isinstance(value, str) else 1


def why_not(declare: Callable[[], object]) -> str:
    """Return what a declaration is refused with; "" if it is not."""
    try:
        declare()
    except DeclarationError as error:
        return str(error)
    return ""


@case("huge text")
def huge_names(host: Host) -> None:
    """A name of 1 MB is refused where it is declared, with a short text, and counted where it is recorded, in a millisecond."""
    sdk, _ = default_sdk(host)
    for name in ("a" * MEGABYTE, "é" * MEGABYTE, "\ud800" * MEGABYTE, "a\n" * MEGABYTE, "metrics_sdk." + "a" * MEGABYTE):
        times = []
        for _ in range(9):
            started = time.perf_counter()
            metrics.record(name, 1)
            times.append(time.perf_counter() - started)
        assert statistics.median(times) <= CALL_SECONDS, times
        for declare in (metrics.counter, metrics.histogram, metrics.timed):
            assert 0 < len(why_not(lambda declare=declare, name=name: declare(name))) < 1000
    assert sdk.flush(10)
    assert dict(sdk.health().dropped) == {"invalid_name": 45}, sdk.health()
    for declare in (metrics.counter, metrics.histogram):
        for about in ({"unit": "s" * MEGABYTE}, {"description": "x" * 10 * MEGABYTE}):
            assert 0 < len(why_not(lambda declare=declare, about=about: declare("a", **about))) < 1000, list(about)


# ---- cardinality --------------------------------------------------------------------------------------------------------


def resident_megabytes() -> float:
    """Return how much memory the process has; nothing where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 / MEGABYTE if statm.exists() else 0.0


def cost_of(call: Callable[[], object]) -> float:
    """Return the least seconds that a hundred calls have taken."""
    best = 1.0
    for _ in range(300):
        started = time.perf_counter()
        for _ in range(100):
            call()
        best = min(best, time.perf_counter() - started)
    return best


@case("cardinality flood", variants=("counter", "histogram", "bound", "gauge", "put_at", "shapes"), deadline=600)
def attribute_sets(host: Host) -> None:
    """A million attribute sets: the limit's series and one more, overflow exact, little memory, recording as fast as before."""
    limit = 500 if host.variant == "histogram" else 2000
    sdk, ledger = default_sdk(host, max_series_per_instrument=limit)
    known = metrics.counter("known")
    for number in range(10):
        known.add(1, {"route": f"/{number}"})
    route = {"route": "/3"}
    before = cost_of(lambda: known.add(1, route))
    assert sdk.flush(10)
    gc.collect()
    memory = resident_megabytes()
    sets = host.size(50_000, 1_000_000)
    flood(host.variant, sets)
    assert sdk.flush(60)
    gc.collect()
    grown = resident_megabytes() - memory
    health = sdk.health().instruments["it"]
    assert health.series <= limit + 1, health
    assert health.received == sets == health.merged, health
    assert health.overflow == sets - (health.series - 1), health  # each of the others has one value
    assert health.series >= limit - 1, health  # the series without attributes may take a place
    assert ledger.total("it") == sets or host.variant == "gauge"
    point = [one for one in sdk.query_all()["it"] if one == (("otel.metric.overflow", True),)]
    assert len(point) == 1
    assert sdk.query("it").count == sets
    # What they are recorded into takes memory as it would without a flood.
    assert grown < 32, f"{grown:.1f} MB more"
    after = cost_of(lambda: known.add(1, route))
    assert after < 2 * before, f"{after * 1e7:.0f} ns instead of {before * 1e7:.0f} ns"


def flood(variant: str, sets: int) -> None:
    """Record each attribute set once."""
    kind = variant if variant in ("counter", "histogram", "gauge") else "counter"
    it: Any = getattr(metrics, kind)("it")
    if variant == "bound":
        for number in range(sets):
            it.bind({"user": f"u{number}"}).add(1)
    elif variant == "put_at":
        for number in range(sets):
            it.put_at(time.time(), 1, {"user": f"u{number}"})
            if number % 4096 == 0:
                metrics.flush(10)
    elif variant == "shapes":  # each of another key
        for number in range(sets):
            it.add(1, {f"k{number}": 1})
    else:
        for number in range(sets):
            it.put(1, {"user": f"u{number}", "route": "/"})


@case("cardinality flood", deadline=300)
def of_all_instruments(host: Host) -> None:
    """Many instruments, each within its own limit: `max_series` holds for all together, and overflow takes the rest."""
    sdk, _ = default_sdk(host, max_series=1000)
    instruments = [metrics.counter(f"c{number}") for number in range(50)]
    for number in range(100):
        for instrument in instruments:
            instrument.add(1, {"n": number})
    assert sdk.flush(10)
    assert sdk.health().series <= 1000 + 2 * len(instruments) + 50, sdk.health().series  # overflow, and without attributes
    assert sum([metrics.query(one.name).count for one in instruments]) == 5000
    check_accounts(sdk.health())


@case("cardinality flood", variants=("names", "spellings", "invalid"), deadline=600)
def names(host: Host) -> None:
    """50,000 names: `max_instruments` of them, the rest counted as instrument_limit, exact; declaring one more is refused."""
    sdk, _ = default_sdk(host)
    limit = sdk.config.max_instruments
    known = metrics.counter("known")
    before = cost_of(lambda: known.add(1))
    sdk.flush(10)
    gc.collect()
    memory = resident_megabytes()
    flooded = host.size(5_000, 50_000)
    # Of as many letters as are in upper case somewhere, each combination is a spelling of one name.
    spelled = map("".join, itertools.product(*[(one, one.upper()) for one in "abcdefghijklmnop"]))
    for number in range(flooded):
        name = {"names": f"n{number}", "spellings": next(spelled), "invalid": f"9 {number}"}[host.variant]
        metrics.record(name, 1)
    assert sdk.flush(60)
    gc.collect()
    grown = resident_megabytes() - memory
    after = cost_of(lambda: known.add(1))
    health = sdk.health()
    calls = flooded + 300 * 100
    assert health.received == calls + 300 * 100, (health.received, calls)
    dropped = {"names": {"instrument_limit": flooded - limit + 1}, "spellings": {}, "invalid": {"invalid_name": flooded}}
    assert dict(health.dropped) == dropped[host.variant], health.dropped
    mine = [one for one in health.instruments if not one.startswith("metrics_sdk.")]
    assert len(mine) == {"names": limit, "spellings": 2, "invalid": 1}[host.variant], len(mine)
    assert grown < 32, f"{grown:.1f} MB more"
    assert after < 2 * before, f"{after * 1e7:.0f} ns instead of {before * 1e7:.0f} ns"
    if host.variant == "names":
        for declare in (metrics.counter, metrics.histogram, metrics.timed):
            try:
                declare("one.too.many")
            except TooManyInstruments:
                continue
            raise AssertionError("one more can be declared")
        metrics.counter("known").add(1)  # what there is goes on
        assert sdk.shutdown(10)  # the standard check would declare one more
    check_accounts(metrics.health())
