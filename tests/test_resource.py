"""What is said of the process in everything that leaves it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

from metrics_sdk import Config, MetricsSDK
from metrics_sdk.resource import Resource
from metrics_sdk.version import __version__


def test_service_host_process_and_sdk_are_told_without_being_given() -> None:
    found = MetricsSDK(Config(background=False)).snapshot().resource
    assert found["service.name"].startswith("unknown_service:python")
    assert 4 == uuid.UUID(found["service.instance.id"]).version
    assert (os.uname().nodename, os.getpid()) == (found["host.name"], found["process.pid"])
    assert ("python", "metrics_sdk", __version__) == tuple(
        found[f"telemetry.sdk.{key}"] for key in ("language", "name", "version")
    )


def test_what_is_given_wins_unless_it_is_empty() -> None:
    found = Resource({"service.name": "shop", "host.name": "", "service.instance.id": None, "team": "a"})()
    assert ("shop", os.uname().nodename, "a") == (found["service.name"], found["host.name"], found["team"])
    assert uuid.UUID(found["service.instance.id"])


def test_two_sdks_are_two_instances_and_one_stays_the_same() -> None:
    one, other = Resource({}), Resource({})
    assert one()["service.instance.id"] != other()["service.instance.id"]
    assert one() is one()


def test_a_forked_child_is_another_instance_also_where_the_id_was_given(run_python: Callable[..., str]) -> None:
    program = """
    import os
    from metrics_sdk import Config, MetricsSDK

    own, given = MetricsSDK(Config(background=False)), MetricsSDK(Config(background=False, resource={"service.instance.id": "pod-1"}))
    before = own.snapshot().resource
    child = os.fork()
    if not child:
        found = own.snapshot().resource
        new = found["service.instance.id"] != before["service.instance.id"] and found["process.pid"] == os.getpid()
        named = given.snapshot().resource["service.instance.id"] == f"pod-1-{os.getpid()}"
        os._exit(0 if new and named and own.snapshot().resource is found else 1)
    print(os.waitpid(child, 0)[1], own.snapshot().resource is before, given.snapshot().resource["service.instance.id"])
    """
    assert "0 True pod-1\n" == run_python(program)
