"""The exporter with real sockets: where it sends to, what goes wrong there, and what the SDK keeps meanwhile."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from metrics_sdk_statsd import StatsDExporter
from metrics_sdk_statsd.datagrams import Datagrams
from statsd_grammar import Server, lines
from statsd_made import metric, point, snapshot

from metrics_sdk import Config, Export, MetricsSDK
from metrics_sdk.errors import ConfigurationError, ExportError, MetricsError
from metrics_sdk.snapshot import ExplicitBuckets, Metric, Point, Snapshot

TIMER = ExplicitBuckets(200, 30_000.0, 100.0, 200.0, (100.0,), (1, 199))


@pytest.mark.parametrize("where", [0, "s", "::1"])
def test_what_is_recorded_arrives_over_udp_and_unix_sockets(bind: Any, exporter_to: Any, where: Any) -> None:
    inbox = bind(where)
    assert exporter_to(inbox).export(snapshot(metric("a", "counter", 1), metric("b", "gauge", 2)), 5.0) is None
    assert [b"a:1|c\nb:2|g"] == inbox.datagrams()


def test_a_host_has_a_name_and_unixgram_is_unix(bind: Any, exporter_to: Any) -> None:
    inbox, unix = bind(0), bind("s")
    exporter_to(f"udp://localhost:{inbox.address[1]}").export(snapshot(metric("a", "counter", 1)), 5.0)
    exporter_to(f"unixgram://{unix.address}").export(snapshot(metric("b", "counter", 1)), 5.0)
    assert [b"a:1|c"] == inbox.datagrams()
    assert [b"b:1|c"] == unix.datagrams()


@pytest.mark.parametrize("limit", [16, 40, 1432])
def test_datagrams_are_full_and_no_longer_than_they_may_be(unix: Any, exporter_to: Any, limit: int) -> None:
    exporter = exporter_to(unix, max_datagram_bytes=limit)
    assert exporter.export(snapshot(*[metric(f"m{i}", "counter", i) for i in range(1, 500)]), 5.0) is None
    got = unix.datagrams()
    assert list(range(1, 500)) == [line.value for line in lines(got)]
    for before, after in pairwise(got):
        assert limit >= len(before) > limit - 1 - len(after.split(b"\n")[0])


def test_two_lines_that_just_fit_are_one_datagram(unix: Any, exporter_to: Any) -> None:
    made = snapshot(metric("a", "counter", 1), metric("b", "counter", 1))
    exporter_to(unix, max_datagram_bytes=11).export(made, 5.0)
    exporter_to(unix, max_datagram_bytes=10).export(made, 5.0)
    assert [b"a:1|c\nb:1|c", b"a:1|c", b"b:1|c"] == unix.datagrams()


def test_a_line_that_is_exactly_as_long_as_a_datagram_is_sent_and_a_longer_one_is_refused(unix: Any, exporter_to: Any) -> None:
    exporter = exporter_to(unix, max_datagram_bytes=9)
    refused = exporter.export(snapshot(metric("abcde", "counter", 1), metric("abcdef", "counter", 1)), 5.0)
    assert 1 == refused.points
    assert [b"abcde:1|c"] == unix.datagrams()


@pytest.mark.parametrize("scheme", ["udp", "unix"])
def test_sizes_have_defaults_of_their_own(bind: Any, exporter_to: Any, scheme: str) -> None:
    inbox = bind(0 if scheme == "udp" else "s")
    exporter_to(inbox).export(snapshot(*[metric(f"m{i}", "counter", i) for i in range(1, 3000)]), 5.0)
    assert (
        {"udp": 1432, "unix": 8192}[scheme]
        >= max([len(one) for one in inbox.datagrams()])
        > {"udp": 1400, "unix": 8100}[scheme]
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"endpoint": "tcp://127.0.0.1:8125"}, "udp://"),
        ({"endpoint": "127.0.0.1:8125"}, "udp://"),
        ({"endpoint": 8125}, "text"),
        ({"endpoint": "udp://:8125"}, "host:port"),
        ({"endpoint": "udp://127.0.0.1:0"}, "host:port"),
        ({"endpoint": "udp://127.0.0.1:99999"}, "port"),
        ({"endpoint": "udp://127.0.0.1:x"}, "port"),
        ({"endpoint": "udp://127.0.0.1:8125/path"}, "host:port"),
        ({"endpoint": "udp://me@127.0.0.1:8125"}, "host:port"),
        ({"endpoint": "udp://[::1"}, "host and port"),
        ({"endpoint": "udp://a..b:1"}, "host and port"),
        ({"endpoint": "unix://relative"}, "absolute"),
        ({"endpoint": "unix:///folder/"}, "absolute"),
        ({"endpoint": "unix:///" + "x" * 107}, "107 bytes"),
        ({"dialect": "influx"}, "'statsd', 'dogstatsd'"),
        ({"dialect": None}, "'statsd', 'dogstatsd'"),
        ({"prefix": None}, "prefix"),
        ({"tags": {"a": "b"}}, "no tags"),
        ({"dialect": "dogstatsd", "tags": ["a:b"]}, "mapping"),
        ({"dialect": "dogstatsd", "tags": {1: "b"}}, "mapping"),
        ({"dialect": "dogstatsd", "resource_tags": ["service.name"]}, "mapping"),
        ({"max_datagram_bytes": 0}, "65507"),
        ({"max_datagram_bytes": 65508}, "65507"),
        ({"max_datagram_bytes": 1.5}, "65507"),
        ({"max_datagram_bytes": True}, "65507"),
    ],
)
def test_arguments_that_cannot_work_are_told_at_once(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        StatsDExporter(**arguments)


def test_it_says_how_it_wants_to_be_driven_and_what_it_is() -> None:
    export = Export(StatsDExporter("udp://127.0.0.1", dialect="dogstatsd"))
    assert (10.0, 5.0, "delta") == (export.interval_seconds, export.timeout_seconds, export.temporality)
    assert "StatsDExporter('udp://127.0.0.1', dialect='dogstatsd')" == repr(export.exporter)
    with pytest.raises(ConfigurationError, match="cannot carry"):
        Export(StatsDExporter(), temporality="cumulative")


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_path_that_is_missing_is_told_and_all_that_was_recorded_arrives_when_it_is_there(
    bind: Callable[..., Any], folder: Path, exporter_to: Any
) -> None:
    exporter = exporter_to(f"unix://{folder}/late")
    sdk = MetricsSDK(Config(background=False, exporters=[Export(exporter)]))
    counter, timer = sdk.counter("c"), sdk.histogram("t", unit="ms")
    for number in range(1, 4):
        counter.add(number)
        timer.record(number)
        assert not sdk.flush(timeout=5.0)
    assert "late" in sdk.health().exporters["StatsDExporter"].last_error
    inbox = bind("late")
    counter.add(10)
    assert sdk.flush()
    server = Server().take(inbox.datagrams())
    assert 16 == server.counters["c"]
    assert (3, 6.0) == (len(server.timers["t"]), sum([value for value, _ in server.timers["t"]]))
    assert 7 == server.counters["metrics_sdk.received"]  # no count of the SDK's is told twice, or left out, either
    assert 0 == sdk.health().exporters["StatsDExporter"].refused
    sdk.shutdown()


def test_a_server_that_has_started_anew_on_the_same_path_is_found_again(bind: Callable[..., Any], exporter_to: Any) -> None:
    first = bind("s")
    exporter = exporter_to(first)
    assert exporter.export(snapshot(metric("a", "counter", 1)), 5.0) is None
    assert [b"a:1|c"] == first.datagrams()
    first.close()
    os.unlink(first.address)
    second = bind("s")
    with pytest.raises(ExportError) as told:
        exporter.export(snapshot(metric("a", "counter", 2)), 5.0)
    assert (0, 0) == (told.value.settled, told.value.refused)
    assert exporter.export(snapshot(metric("a", "counter", 2)), 5.0) is None
    assert [b"a:2|c"] == second.datagrams()


def test_a_refusal_on_the_same_host_is_told_and_nothing_is_lost(bind: Callable[..., Any], exporter_to: Any) -> None:
    inbox = bind(0)
    port = inbox.address[1]
    inbox.close()
    exporter = exporter_to(f"udp://127.0.0.1:{port}")
    for _ in range(3):
        with pytest.raises(ExportError, match="refused") as told:
            exporter.export(snapshot(metric("a", "counter", 1)), 5.0)
        assert (0, 0) == (told.value.settled, told.value.refused)
    again = bind(port)
    assert exporter.export(snapshot(metric("a", "counter", 1)), 5.0) is None
    assert [b"a:1|c"] == again.datagrams()


@pytest.mark.slow
def test_a_full_socket_ends_the_export_at_its_timeout_and_what_was_sent_is_never_sent_again(
    bind: Callable[..., Any], exporter_to: Any
) -> None:
    inbox = bind("s", reading=False)
    exporter = exporter_to(inbox, max_datagram_bytes=600)
    sdk = MetricsSDK(
        Config(background=False, exporters=[Export(exporter, timeout_seconds=0.1)], max_series_per_instrument=20_000)
    )
    counter = sdk.counter("c")
    for number in range(15_000):
        counter.add(number + 1, {"n": number})
    started = time.monotonic()
    assert not sdk.flush()
    assert time.monotonic() - started < 3.0
    inbox.read()
    server = Server().take(inbox.datagrams())
    assert 0 < len(server.counters) < 15_000  # some have gone
    counter.add(100_000, {"n": 0})
    assert any([sdk.flush() for _ in range(20)])
    server.take(inbox.datagrams())
    wanted = {f"c.n.{number}": number + 1.0 for number in range(15_000)}
    wanted["c.n.0"] += 100_000
    assert wanted == {name: value for name, value in server.counters.items() if name.startswith("c.")}
    sdk.shutdown()


def test_a_point_of_which_some_lines_have_gone_is_settled_and_counted_as_refused(bind: Any, exporter_to: Any) -> None:
    inbox = bind("s", reading=False)
    exporter = exporter_to(inbox, max_datagram_bytes=40)
    metrics = [metric(f"c{i}", "counter", i + 1) for i in range(3)] + [metric("nan", "gauge", float("nan"))]
    timers = [metric(f"timer{i}", "histogram", TIMER) for i in range(20)]
    with pytest.raises(ExportError) as told:
        exporter.export(snapshot(*metrics, *timers), 0.1)
    inbox.read()
    got = inbox.lines()
    names = {line.name for line in got}
    assert {"c0", "c1", "c2"} <= names
    begun = [name for name in names if name.startswith("timer")]
    complete = [name for name in begun if 200 == len([line for line in got if line.name == name])]
    assert 4 + len(begun) == told.value.settled
    assert 1 + len(begun) - len(complete) == told.value.refused
    assert len(begun) < 20
    assert exporter.export(snapshot(metric("after", "counter", 1)), 5.0) is None
    assert ["after"] == [line.name for line in inbox.lines()]


class Wire:
    """Carries datagrams; refuses those in `refuses`, by their number, with this error."""

    def __init__(self, refuses: dict[int, int]) -> None:
        self.refuses = refuses
        self.asked = 0
        self.carried: list[bytes] = []

    def open(self, deadline: float) -> None:
        pass

    def close(self) -> None:
        pass

    def send(self, datagram: bytes, deadline: float) -> None:
        self.asked += 1
        if self.asked - 1 in self.refuses:
            code = self.refuses[self.asked - 1]
            raise OSError(code, os.strerror(code))
        self.carried.append(datagram)


def packed(wire: Wire, *named: tuple[int, bytes], pauses: list[float] | None = None) -> Datagrams:
    datagrams = Datagrams(wire, 10, 0.0, pause=(pauses if pauses is not None else []).append)
    try:
        for index, line in named:
            datagrams.add(index, line)
        datagrams.send()
    except OSError:
        pass
    return datagrams


def test_points_are_settled_up_to_the_last_one_that_has_begun_to_leave() -> None:
    lines_of = [(0, b"aaaa"), (0, b"bbbb"), (2, b"cccc"), (3, b"dddd"), (3, b"eeee"), (3, b"ffff"), (4, b"gggg")]
    # Datagrams: ab, cd, ef, g.
    for failing, settled, lost in [(0, 0, set()), (1, 1, set()), (2, 4, {3}), (3, 4, set())]:
        found = packed(Wire({failing: errno.ECONNREFUSED}), *lines_of)
        assert (settled, lost) == (found.settled, found.lost)


def test_a_datagram_that_is_too_long_for_the_socket_is_given_up_and_the_rest_is_sent() -> None:
    wire = Wire({1: errno.EMSGSIZE})
    found = packed(wire, (0, b"aaaa"), (1, b"bbbbbbbb"), (2, b"cccc"), (3, b"dddd"))
    assert ([b"aaaa", b"cccc\ndddd"], 4, {1}) == (wire.carried, found.settled, found.lost)


def over(wire: Wire, **options: Any) -> StatsDExporter:
    """An exporter to it, with datagrams that are too short for two lines."""
    exporter = StatsDExporter("unix:///nowhere", max_datagram_bytes=9, **options)
    exporter._connection = wire  # type: ignore[assignment]
    return exporter


def test_what_failed_midway_is_told_next_time_from_where_it_stopped_and_refused_points_are_counted_once() -> None:
    wire = Wire({1: errno.ECONNREFUSED})
    exporter = over(wire)
    totals = [metric(name, "counter", value, temporality="cumulative") for name, value in (("aaaaa", 5), ("bbbbb", 7))]
    made = snapshot(metric("nan1", "gauge", float("nan")), *totals, metric("nan2", "gauge", float("nan")))
    with pytest.raises(ExportError) as told:
        exporter.export(made, 5.0)
    assert (2, 1) == (told.value.settled, told.value.refused)
    refused = exporter.export(made._replace(metrics=made.metrics[1:]), 5.0)
    assert 1 == refused.points  # type: ignore[union-attr]
    assert [b"aaaaa:5|c", b"bbbbb:7|c"] == wire.carried


def test_points_in_a_datagram_that_the_socket_never_takes_are_refused_and_the_others_arrive() -> None:
    wire = Wire({0: errno.EMSGSIZE})
    refused = over(wire).export(snapshot(metric("aaaaa", "counter", 5), metric("bbbbb", "counter", 7)), 5.0)
    assert refused is not None
    assert 1 == refused.points
    assert "too long" in refused.why
    assert [b"bbbbb:7|c"] == wire.carried


def test_there_is_a_pause_after_each_64_kib_so_that_a_receiver_can_keep_up() -> None:
    pauses: list[float] = []
    packed(Wire({}), *[(number, b"x" * 10) for number in range(3 * 6554)], pauses=pauses)
    assert [0.005] * 3 == pauses


def test_no_time_at_all_is_a_failure_and_leaves_the_exporter_usable(unix: Any, exporter_to: Any) -> None:
    exporter = exporter_to(unix)
    with pytest.raises(MetricsError, match="timeout"):
        exporter.export(snapshot(metric("a", "counter", 1)), 0.0)
    assert exporter.export(snapshot(metric("a", "counter", 1)), 5.0) is None
    assert [b"a:1|c"] == unix.datagrams()


def test_totals_advance_with_what_was_settled_alone(folder: Path, bind: Any, exporter_to: Any) -> None:
    exporter = exporter_to(f"unix://{folder}/s")
    made = snapshot(metric("metrics_sdk.x", "counter", point(5), temporality="cumulative"))
    with pytest.raises(ExportError):
        exporter.export(made, 5.0)
    inbox = bind("s")
    assert exporter.export(made, 5.0) is None
    assert exporter.export(made, 5.0) is None
    assert [5] == [line.value for line in inbox.lines()]


# ---- the life of the process ----------------------------------------------------------------------------------------


def test_a_shut_down_exporter_has_closed_its_socket_and_a_later_export_opens_another(unix: Any, exporter_to: Any) -> None:
    exporter = exporter_to(unix)
    exporter.export(snapshot(metric("a", "counter", 1)), 5.0)
    before = len(os.listdir("/proc/self/fd"))
    exporter.shutdown()
    exporter.shutdown()
    assert before - 1 == len(os.listdir("/proc/self/fd"))
    assert exporter.export(snapshot(metric("a", "counter", 2)), 5.0) is None
    assert [1, 2] == [line.value for line in unix.lines()]


def test_failures_leak_no_sockets(folder: Path, exporter_to: Any) -> None:
    exporter = exporter_to(f"unix://{folder}/missing")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(ExportError):
            exporter.export(snapshot(metric("a", "counter", 1)), 5.0)
    assert before == len(os.listdir("/proc/self/fd"))


def test_a_forked_child_tells_only_its_own_through_a_socket_of_its_own(run_python: Callable[..., str]) -> None:
    program = """
    import os, socket
    from metrics_sdk import Config, MetricsSDK
    from metrics_sdk_statsd import StatsDExporter
    inbox = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inbox.bind(("127.0.0.1", 0))
    inbox.settimeout(20)
    sdk = MetricsSDK(Config(background=False, exporters=[StatsDExporter("udp://127.0.0.1:%d" % inbox.getsockname()[1])]))
    counter = sdk.counter("c")
    senders = []
    def told():
        text, sender = inbox.recvfrom(65536)
        senders.append(sender)
        return [line for line in text.decode().split("\\n") if line.startswith(("c:", "metrics_sdk.received:"))]
    counter.add(1)
    sdk.flush()
    print(told())
    counter.add(2)
    pid = os.fork()
    if not pid:
        counter.add(40)
        assert sdk.flush()
        os._exit(0)
    assert not os.waitpid(pid, 0)[1]
    print(told())
    sdk.flush()
    print(told())
    print(senders[0] == senders[2] != senders[1])
    sdk.shutdown()
    """
    wanted = [
        ["c:1|c", "metrics_sdk.received:1|c"],
        ["c:40|c", "metrics_sdk.received:1|c"],
        ["c:2|c", "metrics_sdk.received:1|c"],
    ]
    assert [*[str(one) for one in wanted], "True"] == run_python(program, stderr=None).splitlines()  # 3.13 warns of forks


@pytest.mark.parametrize("endpoint", ["udp://localhost:9", "unix:///tmp/nothing-is-here"])
def test_the_first_export_imports_nothing(run_python: Callable[..., str], endpoint: str) -> None:
    program = f"""
    import sys
    from metrics_sdk.errors import ExportError
    from metrics_sdk.snapshot import ExplicitBuckets, Metric, Point, Snapshot
    from metrics_sdk_statsd import StatsDExporter
    exporter = StatsDExporter({endpoint!r}, dialect="dogstatsd")
    timer = ExplicitBuckets(200, 30_000.0, 100.0, 200.0, (100.0,), (1, 199))
    points = tuple([Point((("k", ("x", 1)),), value, 0.0, 1.0) for value in (1, 1e-9, float("nan"), timer)])
    before = set(sys.modules)
    try:
        exporter.export(Snapshot({{"service.name": "x"}}, 1.0, (Metric("m", "histogram", "s", "", None, points),)), 5.0)
    except ExportError:
        pass
    print(sorted(set(sys.modules) - before))
    """
    assert "[]\n" == run_python(program)


def test_totals_of_series_that_are_gone_are_forgotten_before_there_are_many(
    unix: Any, exporter_to: Callable[..., StatsDExporter]
) -> None:
    exporter = exporter_to(unix)
    for generation in range(40):
        points = tuple([Point((("pod", f"{generation}-{number}"),), 1, 1.0, 2.0) for number in range(100)])
        exporter.export(Snapshot({}, 2.0, (Metric("a", "counter", "", "", None, points),)), 10)
    assert 4000 == len(unix.lines())
    assert len(exporter._totals._told) <= 2 * 100 + 1024
