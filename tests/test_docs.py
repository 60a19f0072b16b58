"""Every example of docs/ runs, and every test that is named there is there."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from receiver import Receiver

CHECKOUT = Path(__file__).parent.parent
PAGE = (CHECKOUT / "docs" / "opentelemetry.md").read_text()
EXPORTERS = (CHECKOUT / "docs" / "exporters.md").read_text()


def test_the_examples_of_opentelemetry_run_one_after_the_other(run_python: Callable[..., str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(examples) == 5
    printed = run_python("\n".join(examples))
    assert "library_calls_total 3" in printed
    assert "requests_total 1" in printed
    assert "(('route', '/cart'),)" in printed


def test_the_examples_of_exporters_reach_who_they_are_for(run_python: Callable[..., str], receiver: Receiver) -> None:
    examples = "\n".join(re.findall(r"```python\n(.*?)```", EXPORTERS, re.S))
    with socket.socket(type=socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(20)
        here = re.sub(r"http://localhost:\d+", receiver.url, examples)
        here = here.replace("127.0.0.1:8125", f"127.0.0.1:{agent.getsockname()[1]}")
        printed = run_python(here, stderr=None)
        assert b"orders:1|c" in agent.recv(1 << 16)
    assert {"/v1/metrics", "/api/v1/write", "/metrics/job/backup", "/write"} == {asked.path for asked in receiver.asked}
    assert 4 == len(re.findall(r"^\w+ idle [1-9]\d* 0 $", printed, re.M)), printed
    lines = [line for asked in receiver.asked if asked.path == "/write" for line in asked.content.decode().splitlines()]
    (orders,) = [line for line in lines if line.startswith("orders,")]
    assert r",route=/cart\,\ please value=3.0 " in orders
    assert printed.endswith("True\n")


def test_the_example_of_an_exporter_of_ones_own_is_about_thirty_lines() -> None:
    example = next(one for one in re.findall(r"```python\n(.*?)```", EXPORTERS, re.S) if "class InfluxExporter" in one)
    body = example[example.index("class ") : example.index("influx = ")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 30


def named_in_the_support_table() -> list[tuple[str, str]]:
    """Return (file, beginning of a test's name) of all that is named, in full or, after a file in the same cell, by `…test_x…`."""
    found = []
    for cell in re.findall(r"^\|.*\|(.*test_.*)\|$", PAGE, re.M):
        file = ""
        for code in re.findall(r"`([^`]*)`", cell):
            told = re.fullmatch(r"(?:((?:tests/)?[\w/]*test_\w+\.py)(?:::|$)|…)?(?:(test_\w+)…)?", code)
            assert told, f"{code} is no name of a test"
            file = told[1] or file
            assert file, f"{code} continues no file"
            found.append((file, told[2] or "test"))
    return sorted(set(found))


def test_the_shortened_names_of_the_support_table_are_read_as_tests_of_the_file_before() -> None:
    found = named_in_the_support_table()
    assert ("test_provider.py", "test_a_generator") in found
    assert ("test_conformance.py", "test_4") in found


@pytest.mark.parametrize("named", named_in_the_support_table(), ids="::".join)
def test_what_the_support_table_names_is_there(named: tuple[str, str]) -> None:
    file, test = named
    path = CHECKOUT / file if file.startswith("tests/") else CHECKOUT / "tests" / "integrations" / "opentelemetry" / file
    assert re.search(rf"def {test}_\w+\(", path.read_text()), f"{path} has no {test}…"
