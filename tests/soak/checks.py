"""What must hold while the world stands still, exactly; and what at any moment."""

from __future__ import annotations

import time
from collections.abc import Iterable

from exporters import Flipping
from tally import Amount, Key, Tally
from workload import FLOODED, UNCERTAIN

from metrics_sdk import MetricsSDK
from metrics_sdk.health import Health

HISTOGRAMS = ("h.", "x.", "p.")
SETTLING_SECONDS = 30.0


def check_accounts(sdk: MetricsSDK, expected: Tally) -> Health:
    """Nobody records: every value that was is merged, dropped for the right reason, or pending. Return the accounts.

    The flusher may be in the middle of a pass, and health is not one look at everything: it comes to rest soon.
    """
    received = expected.received()
    deadline = time.monotonic() + SETTLING_SECONDS
    while True:
        health = sdk.health()
        if health.received == received == health.merged + sum(health.dropped.values()) + health.pending:
            break
        assert time.monotonic() < deadline, f"{received} were recorded: {difference(health, expected)}"
        time.sleep(0.01)
    for reason, count in expected.dropped.items():  # interpreted, those that are not merged yet count as pending
        assert health.dropped.get(reason, 0) <= count, f"{reason}: {health.dropped.get(reason)}, and there were {count}"
    for name, exporter in health.exporters.items():
        assert exporter.acknowledged + exporter.unacknowledged == health.merged, f"{name}: {exporter}, {health.merged} merged"
        assert 0 <= exporter.acknowledged <= health.merged, f"{name}: {exporter}"
    ours = [kind for kind in health.faults if not kind.startswith("exporter:")]
    assert not ours, f"faults: {health.faults}"
    return health


def check_all(sdk: MetricsSDK, expected: Tally, exporters: Iterable[Flipping]) -> None:
    """Everything is merged and acknowledged: accounts, queries and ledgers agree with the threads' own count, exactly."""
    health = check_accounts(sdk, expected)
    assert health.pending == 0, f"pending after flush: {health.pending}"
    uncertain = 0
    for name, reasons in UNCERTAIN.items():
        one = health.instruments[name]
        handed = sum([amount.count for key, amount in expected.recorded.items() if key[0] == name])
        assert one.received == handed == one.merged + sum(one.dropped.values()), f"{name}: {handed} handed in, {one}"
        assert set(one.dropped) <= reasons, f"{name}: {one}"
        uncertain += sum(one.dropped.values())
    of_reasons = {reason for reasons in UNCERTAIN.values() for reason in reasons}
    certain = {reason: count for reason, count in health.dropped.items() if reason not in of_reasons}
    assert certain == expected.dropped, f"dropped {certain}, must be {expected.dropped}"
    assert health.merged == expected.received() - uncertain - sum(expected.dropped.values())
    queried = queries(sdk)
    check_totals("queries", expected, queried)
    for key, value in expected.last.items():
        found = sdk.query(key[0], dict(key[1]))
        assert found.last == value, f"{key}: last {found.last}, set to {value}"
    for name in UNCERTAIN:
        assert health.instruments[name].merged == sum([one.count for key, one in queried.items() if key[0] == name]), name
    for exporter in exporters:
        assert not exporter.broken, exporter.broken
        told = exporter.told()
        check_totals(exporter.name, expected, told)
        check_alike(exporter.name, told, queried)
        assert exporter.last == expected.last, f"{exporter.name}: {exporter.last}, set to {expected.last}"
        assert health.exporters[exporter.name].acknowledged == health.merged, f"{exporter.name}: {health}"


def queries(sdk: MetricsSDK) -> dict[Key, Amount]:
    """Return what queries answer, of every series."""
    found: dict[Key, Amount] = {}
    for name, by_attributes in sdk.query_all().items():
        for attributes, one in by_attributes.items():
            found[name, attributes] = Amount(one.count, one.sum)
    return found


def check_totals(who: str, expected: Tally, told: dict[Key, Amount]) -> None:
    """Each series that is known exactly has what was recorded, and of the flooded one it is the sum of all."""
    flooded = 0.0
    for key, amount in expected.recorded.items():
        name = key[0]
        if name == FLOODED:
            flooded += amount.sum
        elif name not in UNCERTAIN and not name.startswith("g."):
            found = told.get(key)
            assert found is not None, f"{who} knows nothing of {key}, recorded: {amount}"
            count = amount.count if found.count or name.startswith(HISTOGRAMS) else 0  # exporters are told sums of counters
            assert found == (count, amount.sum), f"{who}: {key} has {found}, recorded: {amount}"
    assert flooded == sum([amount.sum for key, amount in told.items() if key[0] == FLOODED]), who


def check_alike(who: str, told: dict[Key, Amount], queried: dict[Key, Amount]) -> None:
    """What an exporter was told of is what queries answer, series by series."""
    for key, amount in queried.items():
        if not key[0].startswith("g.") and amount.count:
            found = told.get(key)
            assert found is not None, f"{who} knows nothing of {key}: {amount}"
            assert (found.count or amount.count, found.sum) == amount, f"{who}: {found} of {key}: {amount}"
            assert not found.count or found.count == amount.count, f"{who}: {found} of {key}: {amount}"
    unknown = {key for key in told if key not in queried}
    assert not unknown, f"{who} was told of {sorted(unknown)[:5]}"


def difference(health: Health, expected: Tally) -> str:
    """Return what differs, by instrument."""
    told = [f"received {health.received}, merged {health.merged}, pending {health.pending}, dropped {dict(health.dropped)}"]
    for name, one in health.instruments.items():
        handed = sum([amount.count for key, amount in expected.recorded.items() if key[0] == name])
        accounted = one.merged + sum(one.dropped.values()) + one.pending
        if one.received not in (handed, accounted) or handed != one.received:
            told.append(f"{name}: {handed} recorded, {one.received} received, {accounted} accounted for")
    return "; ".join(told)
