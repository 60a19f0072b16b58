"""The store that survives the process: the same answers, whoever is killed, locked out, or writes beside it."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from metrics_sdk import Config, ConfigurationError, MetricsSDK
from metrics_sdk.clock import ManualClock
from metrics_sdk.core.exclusion import exclusively
from metrics_sdk.errors import StoreError, UnknownInstrument
from metrics_sdk.snapshot import Meter
from metrics_sdk.sqlite import SCHEMA_VERSION, SQLiteStore

KILLS = int(os.environ.get("METRICS_SDK_KILLS", "6"))
START = 1_700_000_040.0


def made(path: Path, **given: Any) -> tuple[MetricsSDK, ManualClock]:
    clock = ManualClock(START)
    store = SQLiteStore(path, **given)
    return MetricsSDK(Config(background=False, clock=clock, exporters=[store])), clock


def fill(sdk: MetricsSDK, clock: ManualClock, seconds: int) -> None:
    source = random.Random(4)
    for second in range(seconds):
        sdk.histogram("h", unit="s").record(source.lognormvariate(0, 1), {"route": f"/{second % 3}", "code": 200 + second % 2})
        sdk.counter("c").add(second)
        sdk.gauge("g").set(second)
        sdk.histogram("e", boundaries=[10, 100]).record(second)
        clock.advance(1)
        if second % 10 == 9:
            assert sdk.flush()


def test_what_meters_with_one_metric_name_have_adds_up_in_the_file_as_in_the_process(tmp_path: Path) -> None:
    sdk, clock = made(tmp_path / "m.db")
    for value in (1, 10, 100):
        meter = Meter(f"meter {value}")
        for kind, name in (("counter", "c"), ("gauge", "g"), ("histogram", "h")):
            instrument: Any = sdk.registry.declare_for(meter, kind, name, "", "")
            getattr(instrument, {"counter": "add", "gauge": "set", "histogram": "record"}[kind])(value, {"a": 1})
    for advanced in (0, 10):  # the open window is replaced as a whole when it comes again
        clock.advance(advanced)
        assert sdk.flush()
        store = SQLiteStore(tmp_path / "m.db")
        assert (111, 3, 111) == (store.query("c").sum, store.query("h").count, store.query("h").sum)
        assert (3, 111, 100) == (store.query("g").count, store.query("g").sum, store.query("g").last)


def test_the_file_answers_what_the_process_would_have(tmp_path: Path) -> None:
    sdk, clock = made(tmp_path / "m.db")
    fill(sdk, clock, 300)
    store = SQLiteStore(tmp_path / "m.db")
    for since, until in ((START, START + 300), (START + 95, START + 215), (START + 100, START + 110)):
        for name in ("h", "c", "g", "e"):
            ours, theirs = sdk.query(name, since=since, until=until), store.query(name, since=since, until=until)
            assert (ours.count, pytest.approx(ours.sum), ours.min, ours.max, ours.last, ours.kind, ours.unit) == (
                theirs.count, theirs.sum, theirs.min, theirs.max, theirs.last, theirs.kind, theirs.unit,
            ), name  # fmt: skip
            assert (ours.percentiles([1, 50, 99]), ours.start, ours.end) == (
                theirs.percentiles([1, 50, 99]), theirs.start, theirs.end,
            )  # fmt: skip
            assert [(w.start, w.end, w.count) for w in ours.series()] == [(w.start, w.end, w.count) for w in theirs.series()]
    by_route = sdk.query_by("h", "route", "code", attributes={"code": 200}, since=START, until=START + 300)
    stored = store.query_by("h", "route", "code", attributes={"code": 200}, since=START, until=START + 300)
    assert {key: one.count for key, one in by_route.items()} == {key: one.count for key, one in stored.items()}
    assert (["c", "e", "g", "h"], 0) == (store.names(), store.query("h", {"code": "200"}).count)
    with pytest.raises(UnknownInstrument, match="did you mean 'h'"):
        store.query("hh")


def test_history_survives_restarts(tmp_path: Path) -> None:
    for _ in range(3):
        sdk, clock = made(tmp_path / "m.db")
        fill(sdk, clock, 25)
        assert sdk.shutdown()  # the open window included
    assert (75, 3 * sum(range(25))) == (
        SQLiteStore(tmp_path / "m.db").query("c").count,
        SQLiteStore(tmp_path / "m.db").query("c").sum,
    )


def test_what_grows_old_is_rolled_up_exactly_and_deleted_at_last(tmp_path: Path) -> None:
    kept = [(10, 60), (60, 600), (300, 3000)]
    sdk, clock = made(tmp_path / "m.db", resolutions=kept)
    fill(sdk, clock, 300)
    store = SQLiteStore(tmp_path / "m.db", resolutions=kept)
    expected = sdk.query("h")
    for now, widths in ((START + 300, {10, 60}), (START + 1000, {60, 300}), (START + 2000, {300})):
        store.maintain(now)
        store.maintain(now)
        found = store.query("h")
        assert (expected.count, expected.min, expected.max) == (found.count, found.min, found.max)
        assert pytest.approx(expected.sum, rel=1e-12) == found.sum
        assert pytest.approx(expected.percentile(99), rel=0.011) == found.percentile(99)
        assert (sum(range(300)), 299) == (store.query("c").sum, store.query("g").last)
        with closing(sqlite3.connect(tmp_path / "m.db")) as connection:
            assert widths >= {row[0] for row in connection.execute("SELECT DISTINCT width FROM windows")}
    store.maintain(START + 4000)
    assert 0 == store.query("h").count


def test_an_export_that_is_tried_again_doubles_nothing(tmp_path: Path) -> None:
    sdk, clock = made(tmp_path / "m.db")
    fill(sdk, clock, 30)
    feed = next(iter(sdk._exports.feeds.values()))
    feed.since = START
    for _ in range(3):
        assert sdk.flush()
        feed.since = START
    assert 30 == SQLiteStore(tmp_path / "m.db").query("c").count


def test_values_that_come_late_are_added_to_what_was_written(tmp_path: Path) -> None:
    sdk, clock = made(tmp_path / "m.db")
    fill(sdk, clock, 30)
    for _ in range(2):
        sdk.record("c", 1000, timestamp=START + 5)
        assert sdk.flush()
        assert sdk.flush()
    found = SQLiteStore(tmp_path / "m.db").query("c", since=START, until=START + 10)
    assert (12, 2045) == (found.count, found.sum)


WRITER = """
import sys, time
from metrics_sdk import Config, ConfigurationError, MetricsSDK
from metrics_sdk.sqlite import SQLiteStore
sdk = MetricsSDK(Config(exporters=[SQLiteStore(sys.argv[1], timeout_seconds=30)], resolutions=[(0.2, 60), (1, 600)],
                        flush_interval_seconds=0.02))
counter, latency = sdk.counter("c"), sdk.histogram("h")
run, rounds = sys.argv[2], int(sys.argv[3])
done = 0
for _ in range(rounds):
    print("recording", done + 20, flush=True)
    for i in range(20):
        counter.add(1, {"run": run})
        latency.record(i + 1, {"run": run})
    done += 20
    if sdk.flush(30):
        print("acknowledged", done, flush=True)
sdk.shutdown(30)
"""


def writer(path: Path, run: int, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, str(path), str(run), str(rounds)], stdout=subprocess.PIPE, text=True
    )


def told(process: subprocess.Popen[str], first: str = "") -> dict[str, int]:
    """What the process said last of each kind, after the line `first`."""
    output = first + process.communicate(timeout=60)[0]
    last = {"recording": 0, "acknowledged": 0}
    for line in output.splitlines():
        what, _, number = line.partition(" ")
        if number.isdigit():
            last[what] = int(number)
    return last


def check(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_corrupts_and_doubles_nothing(tmp_path: Path) -> None:
    source = random.Random(9)
    path = tmp_path / "m.db"
    acknowledged = 0
    for run in range(KILLS):
        process = writer(path, run, 10_000)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(source.uniform(0, 0.25))  # the moment is what is random
        process.send_signal(signal.SIGKILL)
        said = told(process, first)
        if path.exists():
            check(path)
        try:
            found = SQLiteStore(path).query("c", {"run": str(run)})
        except (UnknownInstrument, StoreError):  # there is nothing yet
            assert 0 == said["acknowledged"]
            continue
        assert said["acknowledged"] <= found.sum <= max(said["recording"], said["acknowledged"])
        assert found.count == found.sum
        acknowledged += said["acknowledged"]
    assert acknowledged > 0


@pytest.mark.slow
def test_four_processes_write_to_one_file_and_each_value_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    processes = [writer(path, run, 40) for run in range(4)]
    said = [told(process) for process in processes]
    assert [0] * 4 == [process.returncode for process in processes]
    assert [800] * 4 == [one["acknowledged"] for one in said]
    check(path)
    store = SQLiteStore(path)
    assert {str(run): 800 for run in range(4)} == {run: one.sum for run, one in store.query_by("c", "run").items()}
    assert 3200 == store.query("h").count


def test_a_handler_that_interrupts_an_export_and_flushes_is_told_no_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdk, clock = made(tmp_path / "m.db")
    rows = SQLiteStore._rows
    answers: list[bool] = []

    def interrupted(self: SQLiteStore, *args: Any) -> Iterator[Any]:
        for row in rows(self, *args):
            if len(answers) < 3:
                answers.append(False)
                answers[-1] = sdk.flush(0.1)
            yield row

    monkeypatch.setattr(SQLiteStore, "_rows", interrupted)
    fill(sdk, clock, 30)
    assert [False] * 3 == answers
    assert 30 == SQLiteStore(tmp_path / "m.db").query("c").count


def test_a_child_that_is_forked_during_an_export_can_use_its_store(tmp_path: Path) -> None:
    sdk, clock = made(tmp_path / "m.db")
    fill(sdk, clock, 10)
    store = sdk.config.exporters[0].exporter
    assert isinstance(store, SQLiteStore)
    holds, ends = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: exclusively(store._lock, lambda: (holds.set(), ends.wait())))
    thread.start()
    holds.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store.query("c").count == 10 else 1)
    ends.set()
    thread.join()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_processes_with_different_numbers_of_buckets_are_merged(tmp_path: Path) -> None:
    for max_buckets in (320, 160):
        clock = ManualClock(START)
        store = SQLiteStore(tmp_path / "m.db")
        sdk = MetricsSDK(Config(background=False, clock=clock, exporters=[store], max_buckets=max_buckets))
        fill(sdk, clock, 20)
    assert 40 == SQLiteStore(tmp_path / "m.db").query("h").count


def test_fractions_of_seconds_are_rolled_up_to_the_end(tmp_path: Path) -> None:
    kept = [(0.3, 3), (0.9, 90)]
    clock = ManualClock(START)
    store = SQLiteStore(tmp_path / "m.db", resolutions=kept)
    sdk = MetricsSDK(Config(background=False, clock=clock, exporters=[store], resolutions=kept))
    for _ in range(50):
        sdk.counter("c").add(1)
        clock.advance(0.3)
        sdk.flush()
    store.maintain(START + 40)
    assert 50 == store.query("c").count


def broken(sdk: MetricsSDK, message: str) -> None:
    """A flush fails, with a clear word, and is counted; recording goes on."""
    sdk.counter("c").add(1)
    assert not sdk.flush()
    health = sdk.health().exporters["SQLiteStore"]
    assert health.failures > 0
    assert message in health.last_error
    assert 1 == health.unacknowledged or health.unacknowledged > 1
    sdk.counter("c").add(1)
    assert sdk.query("c").count >= 2


def test_a_file_that_cannot_be_made_is_a_clear_counted_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing" / "m.db", tmp_path / "file" / "m.db", Path("/proc/m.db")):
        sdk, _clock = made(path)
        broken(sdk, f"cannot use '{path}'")


def test_a_directory_without_permission_is_a_clear_counted_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        sdk, _clock = made(tmp_path / "m.db")
        broken(sdk, "Permission denied")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_that_is_locked_is_a_clear_counted_error_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    sdk, clock = made(path, timeout_seconds=0.01)
    fill(sdk, clock, 10)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    broken(sdk, "database is locked")
    other.execute("ROLLBACK")
    other.close()
    assert sdk.flush()
    assert sdk.query("c").count == SQLiteStore(path).query("c").count


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file grows beyond `size`, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_a_clear_counted_error_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    sdk, clock = made(path)
    fill(sdk, clock, 10)
    for i in range(500):
        sdk.counter("many").add(1, {"i": i, "text": "x" * 500})
    size = os.path.getsize(f"{path}-wal") + 4096
    with limited(size):
        assert not sdk.flush()
        assert "cannot use" in sdk.health().exporters["SQLiteStore"].last_error
    assert sdk.flush()
    check(path)
    assert (500, 10) == (SQLiteStore(path).query("many").count, SQLiteStore(path).query("c").count)


@pytest.mark.parametrize("where", ["head", "middle"])
def test_a_corrupt_file_is_a_clear_error_and_recording_goes_on(tmp_path: Path, where: str) -> None:
    path = tmp_path / "m.db"
    sdk, clock = made(path)
    fill(sdk, clock, 600)
    assert sdk.shutdown()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(0 if where == "head" else 8192)
        file.write(os.urandom(4096 if where == "head" else size - 8192))
    with pytest.raises(StoreError, match="cannot use"):
        SQLiteStore(path).query("h")
    again, _clock = made(path)
    broken(again, "cannot use")


def test_a_file_of_an_earlier_version_is_brought_up_to_date_and_one_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    sdk, clock = made(path)
    fill(sdk, clock, 20)
    sdk.shutdown()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP INDEX windows_by_age")
    connection.execute("PRAGMA user_version = 1")
    assert 20 == SQLiteStore(path).query("c").count
    assert SCHEMA_VERSION == connection.execute("PRAGMA user_version").fetchone()[0]
    assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'windows_by_age'").fetchone()
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="update it"):
        SQLiteStore(path).query("c")


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    sdk, clock = made(tmp_path / "m.db")
    fill(sdk, clock, 10)
    assert {0o600} == {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (name)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="a database of something else"):
        SQLiteStore(path).query("c")
    sdk, _clock = made(path)
    broken(sdk, "a database of something else")
    assert ([path], before) == (list(tmp_path.iterdir()), path.read_bytes())


def test_reading_makes_no_file_and_changes_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot use"):
        SQLiteStore(tmp_path / "m.db").query("c")
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="no windows in the file yet"):
        SQLiteStore(tmp_path / "empty.db").query("c")
    assert (1, 0) == (len(list(tmp_path.iterdir())), (tmp_path / "empty.db").stat().st_size)


def test_a_file_that_is_deleted_under_the_process_is_made_anew(tmp_path: Path) -> None:
    sdk, clock = made(tmp_path / "m.db")
    fill(sdk, clock, 10)
    for path in tmp_path.iterdir():
        path.unlink()
    fill(sdk, clock, 20)
    assert 20 == SQLiteStore(tmp_path / "m.db").query("c").count


@pytest.mark.parametrize("given", [{"path": ""}, {"resolutions": []}, {"timeout_seconds": -1}, {"timeout_seconds": "x"}])
def test_what_cannot_be_meant_is_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SQLiteStore(**{"path": tmp_path / "m.db", **given})


@pytest.mark.slow
def test_a_forked_child_writes_its_own_values_and_leaves_its_parents_connection_alone(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    program = f"""
import os
from metrics_sdk import Config, ConfigurationError, MetricsSDK
from metrics_sdk.sqlite import SQLiteStore
sdk = MetricsSDK(Config(exporters=[SQLiteStore({str(tmp_path / "m.db")!r}, timeout_seconds=30)]))
sdk.counter("c").add(1)
assert sdk.flush(30)
for number in range(3):
    pid = os.fork()
    if pid == 0:
        sdk.counter("c").add(10)
        os._exit(0 if sdk.flush(30) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    sdk.counter("c").add(1)
assert sdk.shutdown(30)
found = SQLiteStore({str(tmp_path / "m.db")!r}).query("c")
print(found.sum, found.count)
"""
    assert "34 7\n" == run_python(program, stderr=None)  # some releases warn of forking with threads
