"""`python -m metrics_sdk query`: tables for people, JSON for machines, clear words for what cannot be answered."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.__main__ import main
from metrics_sdk.clock import ManualClock
from metrics_sdk.query_command import moment, seconds
from metrics_sdk.sqlite import SQLiteStore


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("store") / "m.db"
    clock = ManualClock(time.time() // 60 * 60 - 600)
    sdk = MetricsSDK(Config(background=False, clock=clock, exporters=[SQLiteStore(made)]))
    latency = sdk.histogram("latency", unit="s")
    for second in range(300):
        latency.record(0.1 if second % 2 else 0.4, {"route": "/a" if second % 3 else "/b", "code": 200})
        sdk.counter("requests").add(2)
        sdk.gauge("depth").set(second)
        clock.advance(1)
        if second % 10 == 9:
            sdk.flush()
    sdk.shutdown()
    return made


def asked(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = main(["query", *map(str, arguments)])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_without_a_name_the_names_are_listed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (0, "depth\nlatency\nrequests\n", "") == asked(capsys, path)


def test_a_histogram_is_shown_by_attribute_with_percentiles_and_a_chart(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _err = asked(capsys, path, "latency", "--last", "1h", "--by", "route", "--percentiles", "50,99")
    lines = out.splitlines()
    assert 0 == status
    assert lines[0].startswith("latency: histogram, in s, ")
    assert ["route", "count", "rate/s", "mean", "p50", "p99", "max"] == lines[1].split()
    assert ["/a", "200"] == lines[2].split()[:2]
    assert ["/b", "100"] == lines[3].split()[:2]
    assert "█" in lines[2]


def test_counters_and_gauges_have_columns_of_their_own(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ["sum", "rate/s"] == asked(capsys, path, "requests")[1].splitlines()[1].split()
    assert ["299", "0", "149.5", "299"] == asked(capsys, path, "depth")[1].splitlines()[2].split()[:4]


def test_json_has_everything_for_machines(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _status, out, _err = asked(capsys, path, "latency", "--by", "route", "--by", "code", "--json", "--top", "1")
    (one,) = json.loads(out)
    assert ({"route": "/a", "code": 200}, 200, 0.1, 0.4) == (one["attributes"], one["count"], one["min"], one["max"])
    assert 200 == sum(window["count"] for window in one["windows"])
    assert {"50", "90", "99"} == set(one["percentiles"])


def test_attributes_on_the_command_line_are_texts_or_else_numbers(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = json.loads(asked(capsys, path, "latency", "--where", "route=/b", "--where", "code=200", "--json")[1])
    assert 100 == one["count"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latencies"], "did you mean 'latency'"),
        (["latency", "--last", "1h", "--since", "0"], "either last, or since and until"),
    ],
)
def test_what_cannot_be_answered_is_said_clearly(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, out, err = asked(capsys, path, *arguments)
    assert (1, "") == (status, out)
    assert message in err


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (1, "", f"error: there is no file '{tmp_path / 'x.db'}'\n") == asked(capsys, tmp_path / "x.db", "latency")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("7d", 604_800)])
def test_times_are_seconds_or_have_a_unit(text: str, expected: float) -> None:
    assert expected == seconds(text)


def test_moments_are_unix_seconds_or_dates() -> None:
    assert 1_767_225_600 == moment("2026-01-01T00:00:00+00:00") == moment("1767225600")


@pytest.mark.parametrize(
    "arguments", [["--last", "0"], ["--last", "1x"], ["--since", "soon"], ["--where", "x"], ["--percentiles", "101"]]
)
def test_what_cannot_be_meant_is_refused(path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["query", str(path), "latency", *arguments])
    assert "must be" in capsys.readouterr().err
