"""A shop: a Flask server, a FastAPI server, clients and a database, instrumented by OpenTelemetry's own packages.

A program, whose argument says whose meter provider it sets, `metrics_sdk` or `opentelemetry-sdk`: nothing else differs.
Prints what each exporter got, by `exported.py`: after a first use, a second one, none, and the shutdown.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import exported
import fastapi
import flask
import pydantic
import requests
import sqlalchemy
import urllib3
import uvicorn
import werkzeug.serving
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

SECONDS = 20.0
LOOPBACK = "127.0.0.1"
INSTRUMENTS = (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter, ObservableGauge)
DELTA = dict.fromkeys(INSTRUMENTS, AggregationTemporality.DELTA)


@contextmanager
def served(server: Any) -> Iterator[int]:
    """Serve while the body runs, which gets the port; all that was begun is finished after it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(SECONDS)
        server.server_close()


class Collector(BaseHTTPRequestHandler):
    """Takes what OTLP exporters send: the path tells which of them it was."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.setdefault(self.path, []).append(body)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def flask_shop(elsewhere: Callable[[], str], engine: sqlalchemy.Engine) -> flask.Flask:
    app = flask.Flask("shop")

    @app.get("/")
    def front() -> str:
        return "welcome"

    @app.route("/items/<int:number>", methods=["GET", "PUT", "DELETE"])
    def item(number: int) -> tuple[str, int]:
        if number > 2:
            flask.abort(404)
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text("select :n + 1"), {"n": number}).scalar()
        return f"item {found}", 200 if flask.request.method == "GET" else 202

    @app.post("/orders")
    def order() -> tuple[str, int]:
        return f"{len(flask.request.get_data())} bytes", 201

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("broken")

    @app.get("/chain")
    def chain() -> str:
        return requests.get(elsewhere() + "/hello/chain", timeout=SECONDS).text

    return app


class Thing(pydantic.BaseModel):
    """What the FastAPI server is sent."""

    name: str


def fastapi_shop() -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.get("/hello/{name}")
    async def hello(name: str) -> str:
        return f"hello {name}"

    @app.post("/things", status_code=201)
    def thing(thing: Thing) -> str:
        return thing.name * 10

    @app.get("/teapot")
    async def teapot() -> None:
        raise fastapi.HTTPException(418)

    @app.get("/stream")
    async def stream() -> fastapi.responses.StreamingResponse:
        return fastapi.responses.StreamingResponse(iter([b"x" * 100] * 5))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("broken")

    return app


class Uvicorn:
    """Serves an ASGI application. `settled` tells of each request that nothing more is recorded for it."""

    def __init__(self, app: Any) -> None:
        self.listening = socket.create_server((LOOPBACK, 0))
        self.port = self.listening.getsockname()[1]
        self.settled = threading.Semaphore(0)
        self._app = app
        self._server = uvicorn.Server(
            uvicorn.Config(self._settling, interface="asgi3", lifespan="off", log_config=None, ws="none")
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self.listening]}, daemon=True)
        self._thread.start()

    async def _settling(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            self.settled.release()

    def settle(self, requests: int) -> None:
        for _ in range(requests):
            if not self.settled.acquire(timeout=SECONDS):
                raise TimeoutError("a request never ended")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(SECONDS)
        self.listening.close()


def use(flask_url: str, fastapi_url: str, fastapi_server: Uvicorn, nowhere: str) -> None:
    """Make requests of several methods to several routes, with answers and errors of several kinds."""
    session = requests.Session()
    pool = urllib3.PoolManager(retries=False, timeout=SECONDS)
    statuses = [
        session.get(f"{flask_url}/").status_code,
        session.get(f"{flask_url}/items/1?shown=all").status_code,
        session.get(f"{flask_url}/items/2").status_code,
        session.get(f"{flask_url}/items/3").status_code,
        session.put(f"{flask_url}/items/1", data=b"x" * 1000).status_code,
        session.delete(f"{flask_url}/items/1").status_code,
        session.head(f"{flask_url}/items/1").status_code,
        session.options(f"{flask_url}/items/1").status_code,
        session.request("BREW", f"{flask_url}/items/1").status_code,
        session.post(f"{flask_url}/orders", data=b"y" * 5000).status_code,
        session.get(f"{flask_url}/broken").status_code,
        session.get(f"{flask_url}/nowhere").status_code,
        session.get(f"{flask_url}/chain").status_code,
        session.get(f"{fastapi_url}/hello/you").status_code,
        pool.request("GET", f"{flask_url}/items/2").status,
        pool.request("GET", f"{fastapi_url}/hello/me").status,
        pool.request("POST", f"{fastapi_url}/things", json={"name": "spoon"}).status,
        pool.request("POST", f"{fastapi_url}/things", json={"size": 1}).status,
        pool.request("GET", f"{fastapi_url}/teapot").status,
        pool.request("GET", f"{fastapi_url}/stream").status,
        pool.request("GET", f"{fastapi_url}/broken").status,
        pool.request("GET", f"{fastapi_url}/nowhere").status,
    ]
    expected = [200, 200, 200, 404, 202, 202, 202, 200, 405, 201, 500, 404, 200, 200, 200, 200, 201, 422, 418, 200, 500, 404]
    assert expected == statuses, statuses
    fastapi_server.settle(9)
    for attempt, error in (
        (lambda: session.get(nowhere), requests.ConnectionError),
        (lambda: pool.request("GET", nowhere), urllib3.exceptions.NewConnectionError),
    ):
        try:
            attempt()
        except error:
            continue
        raise AssertionError("somebody listens where nobody should")
    session.close()
    pool.clear()


def main(whose: str) -> None:
    if whose == "metrics_sdk":
        from metrics_sdk_opentelemetry import MeterProvider
    else:
        from opentelemetry.sdk.metrics import MeterProvider  # type: ignore[assignment]
    for name in ("shop", "uvicorn.error", "werkzeug"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # of the errors that are asked for
    spans = InMemorySpanExporter()
    traces = TracerProvider()
    traces.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(traces)

    # Some instruments are there before the provider is set, some after.
    URLLib3Instrumentor().instrument()
    FlaskInstrumentor().instrument()
    SystemMetricsInstrumentor().instrument()

    collector = ThreadingHTTPServer((LOOPBACK, 0), Collector)
    collector.received = received = {}  # type: ignore[attr-defined]
    console = io.StringIO()
    registry = CollectorRegistry()
    with served(collector) as otlp:
        memory = InMemoryMetricReader()
        deltas = InMemoryMetricReader(preferred_temporality=DELTA)  # type: ignore[arg-type]

        def periodic(exporter: Any) -> PeriodicExportingMetricReader:
            return PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)

        provider = MeterProvider(
            [
                memory,
                deltas,
                periodic(ConsoleMetricExporter(out=console)),
                PrometheusMetricReader(registry=registry),
                periodic(OTLPMetricExporter(f"http://{LOOPBACK}:{otlp}/otlp")),
                periodic(
                    OTLPMetricExporter(
                        f"http://{LOOPBACK}:{otlp}/deltas",
                        preferred_temporality=DELTA,  # type: ignore[arg-type]
                        preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
                    )
                ),
            ],
            resource=Resource.create({"service.name": "shop", "service.instance.id": "1"}),
        )
        metrics.set_meter_provider(provider)
        FastAPIInstrumentor().instrument()
        RequestsInstrumentor().instrument()
        SQLAlchemyInstrumentor().instrument()

        engine = sqlalchemy.create_engine(
            "sqlite://",
            poolclass=sqlalchemy.pool.QueuePool,
            pool_logging_name="orders",
            connect_args={"check_same_thread": False},
        )
        asgi = Uvicorn(fastapi_shop())
        fastapi_url = f"http://{LOOPBACK}:{asgi.port}"
        wsgi = werkzeug.serving.make_server(LOOPBACK, 0, flask_shop(lambda: fastapi_url, engine))
        with socket.create_server((LOOPBACK, 0)) as closed:
            nowhere = closed.getsockname()[1]
        ports = {asgi.port: "fastapi", wsgi.server_port: "flask", nowhere: "nowhere", otlp: "otlp"}
        rounds: list[dict[str, Any]] = []

        def collect(again: bool = True) -> None:
            seen = {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans()}
            show = exported.Masks(ports, seen)
            found: dict[str, Any] = {}
            if again:
                found["memory"] = show.metrics_data(memory.get_metrics_data())
                found["memory, deltas"] = show.metrics_data(deltas.get_metrics_data())
                if not rounds:  # later it has what each flush left with the exporter as well
                    found["prometheus"] = show.prometheus(generate_latest(registry).decode())
                provider.force_flush()
            found["console"] = show.console(console.getvalue())
            console.seek(0)
            console.truncate()
            for name, path in (("otlp", "/otlp"), ("otlp, deltas, exponential", "/deltas")):
                found[name] = [show.otlp(body) for body in received.pop(path, [])]
            rounds.append(found)

        with served(wsgi):
            flask_url = f"http://{LOOPBACK}:{wsgi.server_port}"
            use(flask_url, fastapi_url, asgi, f"http://{LOOPBACK}:{nowhere}/")
            with engine.connect():  # one is in use while it is collected
                collect()
            use(flask_url, fastapi_url, asgi, f"http://{LOOPBACK}:{nowhere}/")
            collect()
            collect()  # nothing came
        asgi.stop()
        engine.dispose()
        provider.shutdown()
        collect(again=False)
    json.dump(rounds, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
