"""The demo as a whole, in a process of its own."""

from __future__ import annotations

import re
import signal
import socket
import time
import urllib.request

import pytest

from metrics_sdk.demo.machine import unavailable
from metrics_sdk.demo.readings import best

pytestmark = pytest.mark.slow

LIBRARY = {"library.files", "library.file.size", "library.parse.duration", "library.hash.duration"}
WEB = {"http.server.requests", "http.server.duration", "http.server.active", "http.client.duration"}
MACHINE = {"cpu.usage", "mem.used", "disk.io", "net.rx", "net.tx"}


def expected_metrics():
    return LIBRARY | WEB | (MACHINE - set(unavailable(best())))


def accounts(output):
    """The numbers of the accounting, with which the output ends."""
    found = re.search(r"\nreceived ([\d,]+)\nmerged ([\d,]+)\ndropped ([\d,]+)(?: \(.*\))?\npending ([\d,]+)\n\Z", output)
    assert found, output
    return [int(number.replace(",", "")) for number in found.groups()]


def test_runs_for_its_time_and_accounts_for_every_value(start_demo):
    """A demo of two seconds ends with status 0, says nothing on stderr, and its accounting adds up with nothing pending."""
    status, output, errors = start_demo("--seconds", "2", "--port", "0").end()
    assert (0, "") == (status, errors)
    received, merged, dropped, pending = accounts(output)
    assert 0 == pending
    assert received == merged + dropped
    assert received > 100


def test_piped_output_is_a_plain_table_of_every_instrument(start_demo):
    """Piped, there are no control characters, and each instrument has a line in the last table."""
    _status, output, _errors = start_demo("--seconds", "2", "--port", "0").end()
    assert set() == set(re.findall(r"[\x00-\x09\x0b-\x1f\x7f]", output))
    heading = "metric +attributes +value +count +rate +mean +min +max +p50 +p99\n"
    _before, *tables = re.split(heading, output)
    last = tables[-1].partition("\n\n")[0]
    assert set() == expected_metrics() - {line.split()[0] for line in last.splitlines()}


def test_serves_every_instrument_while_it_runs(start_demo):
    """A scrape during the run finds every instrument that the demo has."""
    demo = start_demo("--seconds", str(60), "--port", "0")
    url = demo.url()
    wanted = {name.replace(".", "_") for name in expected_metrics()}
    found: set[str] = set()
    deadline = time.monotonic() + 20
    while wanted - found and time.monotonic() < deadline:
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        found = {name for name in wanted if re.search(rf"^# TYPE {name}(_|\b)", text, re.MULTILINE)}
    demo.process.send_signal(signal.SIGINT)
    assert (0, "") == demo.end()[::2]
    assert wanted == found


def test_ctrl_c_ends_it_gracefully_within_three_seconds(start_demo):
    """SIGINT in mid-run leads to status 0, no traceback and an accounting that adds up, soon."""
    demo = start_demo("--seconds", "60", "--port", "0")
    urllib.request.urlopen(demo.url(), timeout=10).read()
    pressed = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    demo.process.send_signal(signal.SIGINT)  # an impatient user
    status, output, errors = demo.end()
    assert (0, "") == (status, errors)
    assert time.monotonic() - pressed < 3
    received, merged, dropped, pending = accounts(output)
    assert (0, received) == (pending, merged + dropped)
    assert "\ninterrupted after " in output


def test_every_thread_ends_with_it(run_python):
    """When the demo returns, the main thread is alone again."""
    told = run_python("""
        import threading
        from metrics_sdk.__main__ import main
        assert main(["demo", "--seconds", "0.5", "--port", "0"]) == 0
        print([thread.name for thread in threading.enumerate()])
    """)
    assert "['MainThread']" == told.splitlines()[-1]


def test_a_port_that_is_taken_is_said_with_status_2(start_demo):
    """Where the port is in use, nothing is run, and one line says so and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, output, errors = start_demo("--seconds", "60", "--port", port).end()
    assert (2, "") == (status, output)
    assert 1 == errors.count("\n")
    assert port in errors
    assert "--port" in errors
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_is_not_answered_with_a_traceback(start_demo):
    """With its output closed (as by `| head -1`) the demo ends with a status, and silently."""
    demo = start_demo("--seconds", "1", "--port", "0")
    demo.url()
    demo.process.stdout.close()
    demo.process.stdout = None
    _out, errors = demo.process.communicate(timeout=30)
    assert (1, "") == (demo.process.returncode, errors)
