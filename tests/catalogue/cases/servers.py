"""Servers of several processes: what these tell together is exactly what was done, however their processes come and go."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading

from catalogue.case import case
from catalogue.fleet import Fleet, command, program
from catalogue.host import Host
from receiver import Receiver

ROW = "gunicorn `--preload`, uWSGI"
WRK = f"command:{program('wrk')}"
CONNECTIONS = 16
SITE = "catalogue.applications.site"


class Load:
    """wrk, asking a server for a while from now on."""

    def __init__(self, fleet: Fleet, seconds: int) -> None:
        asking = [*command("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "20s", fleet.url]
        self._asking = subprocess.Popen(asking, stdout=subprocess.PIPE, text=True)

    def answered(self) -> int:
        """Return, at its end, how many requests were answered well, by its own count."""
        told = self._asking.communicate(timeout=60)[0]
        found = re.search(r"(\d+) requests in", told)
        assert found, told
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
        return int(found[1]) - (int(failed[1]) if failed else 0)


def under_load(fleet: Fleet, seconds: int, *signals: signal.Signals) -> int:
    """Put it under load, send the master the signals meanwhile, the last of which ends it; return what was answered."""
    load = Load(fleet, seconds)
    pause = threading.Event()
    for number in signals:
        pause.wait(0.85 * seconds / len(signals))
        if number is not signals[-1]:
            fleet.send(number)
    assert fleet.threads() == 1, "the master has started a thread, and has recorded nothing"
    assert fleet.end(signals[-1]) == 0, fleet.log.read_text()
    return load.answered()


def check_totals(fleet: Fleet, answered: int, lost: int = 0) -> None:
    """What the processes told together is what they did, by the application's count; wrk counted as much, but what it left."""
    told, counted, log = fleet.told(), sum(fleet.counted().values()), fleet.log.read_text()
    assert told.total("requests") == told.total("latency") == counted - lost, (told, counted, fleet.exiting(), log)
    assert answered <= counted <= answered + CONNECTIONS, (answered, counted, log)
    assert answered > 100, (answered, log)
    assert told.instances("requests") == len(fleet.counted()) - bool(lost), (told, log)
    assert "Traceback" not in log, log
    assert "TIMEOUT" not in log, log  # gunicorn's word for a worker that hung


def gunicorn(host: Host, worker: str, **environment: str) -> Fleet:
    """Run gunicorn with the SDK made in the master."""
    workers = host.size(4, 8)
    fleet = Fleet(
        host, sys.executable, "-m", "gunicorn", "--preload", "--bind=127.0.0.1:{port}", f"--workers={workers}",
        f"--worker-class={worker}", f"--threads={4 if worker == 'gthread' else 1}", "--max-requests=50", "--max-requests-jitter=10", "--no-control-socket",
        f"{SITE}:wsgi", **environment,
    )  # fmt: skip
    fleet.ready("Booting worker", workers)
    return fleet


@case(ROW, variants=("sync", "gthread"), needs=("fork", "gunicorn", WRK), deadline=120)
def preloaded(host: Host) -> None:
    """gunicorn --preload under load: workers end after 50 requests, HUP replaces all of them, and TERM ends it."""
    with gunicorn(host, host.variant) as fleet:
        assert fleet.threads() == 1
        answered = under_load(fleet, host.size(2, 20), signal.SIGHUP, signal.SIGTERM)
        check_totals(fleet, answered)
        assert len(fleet.counted()) > host.size(4, 8), "no worker was replaced"


@case(ROW, needs=("fork", "gunicorn", WRK), deadline=120)
def master_records(host: Host) -> None:
    """The master has recorded, so that it is forked with the SDK's threads at work: its values are told once, by itself."""
    with gunicorn(host, "gthread", CATALOGUE_MASTER_RECORDS="1") as fleet:
        load = Load(fleet, host.size(1, 10))
        answered = load.answered()
        assert fleet.end() == 0, fleet.log.read_text()
        told = fleet.told()
        assert told.total("master") == 3, told
        assert told.instances("master") == 1, told
        assert not [one for one in told.totals.values() if one.get("master") and one.get("requests")], told
        check_totals(fleet, answered)


@case(ROW, needs=("fork", "gunicorn", "opentelemetry.proto", WRK), deadline=120)
def to_a_collector(host: Host) -> None:
    """The workers export by OTLP to one receiver, which adds up the same totals, by `service.instance.id`."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    receiver = Receiver()
    with gunicorn(host, "sync", CATALOGUE_URL=f"{receiver.url}/v1/metrics") as fleet:
        answered = under_load(fleet, host.size(1, 10), signal.SIGTERM)
        check_totals(fleet, answered)
    last: dict[str, int] = {}
    for asked in receiver.accepted:
        for resource in ExportMetricsServiceRequest.FromString(asked.content).resource_metrics:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            metrics = [metric for scope in resource.scope_metrics for metric in scope.metrics if metric.name == "requests"]
            for point in [point for metric in metrics for point in metric.sum.data_points]:
                last[about["service.instance.id"]] = point.as_int or int(point.as_double)
    receiver.stop()
    assert sum(last.values()) == sum(fleet.counted().values()), (last, fleet.counted())


@case(ROW, needs=("fork", "pyuwsgi", WRK), variants=("", "fork-hooks"), deadline=120)
def uwsgi(host: Host) -> None:
    """uWSGI loads the application in its master, is reloaded under load, and ended, gracefully both times.

    It tells Python of its forks with `--py-call-uwsgi-fork-hooks` only, and has threads whether they are enabled or not.
    """
    with Fleet(
        host, sys.executable, "-c", "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])", "--master", "--need-app",
        f"--processes={host.size(4, 8)}", "--http-socket=127.0.0.1:{port}", f"--module={SITE}:wsgi", "--disable-logging",
        f"--binary-path={sys.executable}",  # what it starts anew when it is reloaded
        "--hook-master-start=unix_signal:15 gracefully_kill_them_all", "--worker-reload-mercy=10",
        *(["--py-call-uwsgi-fork-hooks"] if host.variant else []),
    ) as fleet:  # fmt: skip
        fleet.ready("spawned uWSGI worker", host.size(4, 8))
        answered = under_load(fleet, host.size(2, 20), signal.SIGHUP, signal.SIGTERM)
        # It ends a worker that is busy at the wrong moment without Python's exit, which no code in Python can do anything about.
        killed = [count for process, count in fleet.counted().items() if process not in fleet.exiting()]
        assert len(killed) <= 1, (killed, fleet.log.read_text())
        check_totals(fleet, answered, sum(killed))


@case(ROW, needs=("uvicorn", WRK), deadline=120)
def uvicorn(host: Host) -> None:
    """uvicorn starts two processes, each with an SDK of its own, and TERM ends it."""
    arguments = ("--port={port}", "--workers=2", "--no-access-log", f"{SITE}:asgi")
    with Fleet(host, sys.executable, "-m", "uvicorn", *arguments) as fleet:
        fleet.ready("Application startup complete", 2)
        answered = Load(fleet, host.size(1, 10)).answered()
        assert fleet.end() == 0, fleet.log.read_text()
        check_totals(fleet, answered)
