"""A real application, instrumented by unmodified packages, once with our meter provider and once with opentelemetry-sdk's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

APPLICATION = Path(__file__).with_name("application.py")
OURS, THEIRS = "metrics_sdk", "opentelemetry-sdk"
FLASK, REQUESTS = "opentelemetry.instrumentation.flask", "opentelemetry.instrumentation.requests"

#: What is recorded by each package: old names and new ones, as OTEL_SEMCONV_STABILITY_OPT_IN=http/dup has it.
RECORDED = {
    "opentelemetry.instrumentation.fastapi": {
        "http.server.active_requests",
        "http.server.duration",
        "http.server.request.body.size",
        "http.server.request.duration",
        "http.server.request.size",
        "http.server.response.body.size",
        "http.server.response.size",
    },
    "opentelemetry.instrumentation.flask": {
        "http.server.active_requests",
        "http.server.duration",
        "http.server.request.duration",
    },
    "opentelemetry.instrumentation.requests": {"http.client.duration", "http.client.request.duration"},
    "opentelemetry.instrumentation.sqlalchemy": {"db.client.connections.usage"},
    "opentelemetry.instrumentation.urllib3": {
        "http.client.duration",
        "http.client.request.body.size",
        "http.client.request.duration",
        "http.client.request.size",
        "http.client.response.body.size",
        "http.client.response.size",
    },
}

Rounds = list[dict[str, Any]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rounds]:
    """What the application exported with each of the meter providers. Both run at the same time."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment = {
        **given,
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup,database/dup",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
    running = {
        whose: subprocess.Popen(
            [sys.executable, str(APPLICATION), whose],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path_factory.mktemp(whose),
        )
        for whose in (THEIRS, OURS)
    }
    try:
        ended = {whose: (*process.communicate(timeout=90), process.returncode) for whose, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    for whose, (_, errors, status) in ended.items():
        assert (0, "") == (status, errors), whose
    return {whose: json.loads(printed) for whose, (printed, _, _) in ended.items()}


def metrics_in(shown: Any, scope: str) -> dict[str, Any]:
    """Return the metrics of one scope, by their names, out of what a reader in memory returned."""
    scopes = [one["metrics"] for resource in shown for one in resource["scope_metrics"] if one["scope"]["name"] == scope]
    return {metric["name"]: metric for metrics in scopes for metric in metrics}


def point(metric: Any, attributes: dict[str, Any]) -> Any:
    """Return the one data point that has these attributes, among others."""
    (found,) = [one for one in metric["data"]["data_points"] if attributes.items() <= one["attributes"].items()]
    return found


def leaves(shown: Any, path: str = "") -> dict[str, Any]:
    """Return every value in what was exported by its path, in which a metric goes by its name, and a point by its attributes."""
    if isinstance(shown, dict):
        return {at: leaf for key, one in shown.items() for at, leaf in leaves(one, f"{path}/{key}").items()}
    if isinstance(shown, list):
        found: dict[str, Any] = {path: len(shown)}
        for number, one in enumerate(shown):
            name = (one.get("name") or one.get("attributes")) if isinstance(one, dict) else None
            found.update(leaves(one, f"{path}[{json.dumps(name) if name else number}]"))
        return found
    return {path: shown}


def comparable(shown: Any, exemplars: bool) -> Any:
    """Return what was exported; without `exemplars` where nothing new came: there they are lost by then, see `deviations.py`."""
    if isinstance(shown, list):
        return [comparable(one, exemplars) for one in shown]
    if not isinstance(shown, dict):
        return shown
    return {key: comparable(one, exemplars) for key, one in shown.items() if exemplars or key != "exemplars"}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["memory", "memory, deltas", "prometheus", "console", "otlp", "otlp, deltas, exponential"])
def test_what_arrives_through_each_exporter_is_what_arrives_with_opentelemetry_sdk(
    exported: dict[str, Rounds], way: str
) -> None:
    expected, got = [
        [comparable(one[way], number < 2) for number, one in enumerate(exported[whose]) if way in one]
        for whose in (THEIRS, OURS)
    ]
    assert all(expected)
    there, here = leaves(expected), leaves(got)
    different = [at for at in sorted({*there, *here}) if there.get(at) != here.get(at)]
    assert [] == [(at, there.get(at), here.get(at)) for at in different[:20]]


@pytest.mark.slow
def test_every_instrumentation_is_heard(exported: dict[str, Rounds]) -> None:
    """With the numbers of the requests, so that it is not two empty things that are equal above."""
    first, second, third, _ = exported[OURS]
    for scope, names in RECORDED.items():
        assert names == set(metrics_in(second["memory"], scope)), scope
    assert 30 < len(metrics_in(second["memory"], "opentelemetry.instrumentation.system_metrics"))

    server = {"http.route": "/items/<int:number>", "http.request.method": "GET", "http.response.status_code": 200}
    unknown = {"http.request.method": "_OTHER", "http.response.status_code": 405}
    broken = {"http.route": "/broken", "http.response.status_code": 500}
    refused = {"server.port": "nowhere", "error.type": "ConnectionError"}
    for scope, attributes, count in (
        (FLASK, server, 3),
        (FLASK, unknown, 1),
        (FLASK, broken, 1),
        (REQUESTS, refused, 1),
    ):
        name = "http.server.request.duration" if scope == FLASK else "http.client.request.duration"
        totals = [point(metrics_in(one["memory"], scope)[name], attributes)["count"] for one in (first, second, third)]
        assert [count, 2 * count, 2 * count] == totals, attributes
        deltas = [point(metrics_in(one["memory, deltas"], scope)[name], attributes)["count"] for one in (first, second)]
        assert [count, count] == deltas, attributes
        assert name not in metrics_in(third["memory, deltas"], scope)

    connections = metrics_in(first["memory"], "opentelemetry.instrumentation.sqlalchemy")["db.client.connections.usage"]
    assert {"idle": 0, "used": 1} == {one["attributes"]["state"]: one["value"] for one in connections["data"]["data_points"]}


@pytest.mark.slow
def test_exemplars_name_the_traces_of_the_requests(exported: dict[str, Rounds]) -> None:
    for whose, rounds in ((THEIRS, exported[THEIRS][:2]), (OURS, exported[OURS][:3])):
        for one in rounds:
            points = metrics_in(one["memory"], FLASK)["http.server.request.duration"]["data"]["data_points"]
            assert {True} == {point["exemplars"][0]["trace_id"] for point in points}, whose


@pytest.mark.slow
def test_a_gauge_of_integers_leaves_as_integers_as_with_opentelemetry_sdk(exported: dict[str, Rounds]) -> None:
    threads = "opentelemetry.instrumentation.system_metrics", "system.thread_count"
    expected, got = [
        metrics_in(exported[whose][0]["memory"], threads[0])[threads[1]]["data"]["data_points"][0]["value"]
        for whose in (THEIRS, OURS)
    ]
    assert "int" == expected
    assert expected == got
