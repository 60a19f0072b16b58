"""Processes that Python starts: each delivers what it recorded itself, at its end, and nothing of its parent's."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker
from typing import Any

from catalogue.case import case
from catalogue.fleet import told
from catalogue.host import Host

WORKERS = 2
KINDS = ("process", "pool", "terminated_pool", "executor")


def work(number: int) -> int:
    """Record 7, with the SDK that this process has: a copy of the parent's, or one that it makes when it imports this."""
    from catalogue.applications import recording

    recording.metrics.counter("child").add(7)
    recording.metrics.histogram("size").record(number)
    return os.getpid()


def work_and_flush(number: int) -> int:
    """Record 7, and wait until that is delivered; then record 1 more."""
    from catalogue.applications import recording

    work(number)
    assert recording.metrics.flush(10)
    recording.metrics.counter("child").add(1)
    return os.getpid()


@case(
    "`multiprocessing`",
    variants=tuple([f"{method}-{kind}" for method in ("fork", "forkserver", "spawn") for kind in KINDS]),
    needs=("fork",),
)
def multiprocessed(host: Host) -> None:
    """Children of each start method record 7 and return: all of it arrives, once, under an id for each process.

    `with Pool()` terminates its children: what they have recorded since the last export is lost, and no more than that.
    """
    method, _, kind = host.variant.partition("-")
    os.environ["CATALOGUE_FOLDER"] = str(host.folder)
    from catalogue.applications import recording

    host.watch(recording.sdk)
    recording.metrics.counter("parent").add(100)  # pending where the children are forked, or their server is started
    context: Any = multiprocessing.get_context(method)
    children = _run(context, kind, WORKERS * host.size(1, 4))
    assert recording.metrics.flush(10), recording.sdk.health()

    found = told(host.folder)
    assert found.total("parent") == 100, found
    assert found.instances("parent") == 1, found
    expected = 7 * children
    if kind == "terminated_pool":
        assert expected <= found.total("child") <= expected + children, found
    else:
        assert found.total("child") == expected, found
        assert found.total("size") == children, found
    _end_helpers(method)


def _run(context: Any, kind: str, children: int) -> int:
    """Have so many children work, and wait for their ends; return how often they did."""
    if kind == "process":
        processes = [context.Process(target=work, args=(number,)) for number in range(children)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(20)
            assert process.exitcode == 0, process
            process.close()
    elif kind == "pool":
        pool = context.Pool(WORKERS, maxtasksperchild=2)
        pool.map(work, range(children), chunksize=1)
        pool.close()
        pool.join()
    elif kind == "terminated_pool":
        with context.Pool(WORKERS) as pool:
            pool.map(work_and_flush, range(children), chunksize=1)
        pool.join()
    else:
        with ProcessPoolExecutor(WORKERS, mp_context=context) as executor:
            assert len(list(executor.map(work, range(children), timeout=30))) == children
    return children


def _end_helpers(method: str) -> None:
    """End what `multiprocessing` keeps for later: its processes hold descriptors of this one."""
    if method == "forkserver":
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
