"""Forks: a child starts clean, delivers its own values and none of its parent's, and never hangs."""

from __future__ import annotations

import threading

from catalogue.case import case
from catalogue.host import Host, check_accounts


@case("fork under load", deadline=120, needs=("fork",))
def under_load(host: Host) -> None:
    """Three threads record over 20 names × 40 attribute sets while the process forks."""
    sdk = host.sdk(flush_interval_seconds=0.1)
    instruments = [sdk.counter(f"n{number}") for number in range(20)]
    stop = threading.Event()
    counts: list[int] = []

    def load(seed: int) -> None:
        recorded = 0
        while not stop.is_set():
            instruments[recorded % 20].add(1, {"k": (recorded * 7 + seed) % 40})
            recorded += 1
        counts.append(recorded)

    threads = [threading.Thread(target=load, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        for instrument in instruments[:5]:
            instrument.add(1, {"k": "child"})
        assert sdk.flush(5), sdk.health()
        assert sdk.health().received == sdk.health().merged == 5, sdk.health()
        assert sum([host.ledger(sdk).total(f"n{number}") for number in range(20)]) == 5
        check_accounts(sdk.health())

    forks = host.size(30, 200)
    hung = [pid for pid in map(host.forked, [child] * forks) if not host.ended_well(pid)]
    stop.set()
    for thread in threads:
        thread.join()
    assert not hung, f"{len(hung)} of {forks} children hung or failed"
    assert sdk.flush(10)
    assert sdk.health().received == sdk.health().merged == sum(counts), (sdk.health(), sum(counts))


@case("fork with pending values", needs=("fork",))
def with_pending_values(host: Host) -> None:
    """The parent records 100 and forks; both flush."""
    sdk = host.sdk(flush_interval_seconds=60)
    counter = sdk.counter("c")
    for _ in range(100):
        counter.add(1)

    def child() -> None:
        sdk.flush(5)
        assert host.ledger(sdk).total("c") == 0, host.ledger(sdk).last
        counter.add(3)
        assert sdk.flush(5)
        assert host.ledger(sdk).total("c") == 3, host.ledger(sdk).last

    assert host.ended_well(host.forked(child))
    assert sdk.flush(5)
    assert host.ledger(sdk).total("c") == 100
    sdk.shutdown(5)
