"""Tasks that count themselves, for Celery's workers."""

from __future__ import annotations

import os

from catalogue.applications.recording import count
from celery import Celery, signals

import metrics_sdk as metrics

app = Celery("tasks", broker=os.environ["CATALOGUE_BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.conf.task_ignore_result = True

tasks = metrics.counter("requests", description="Tasks done.")
latency = metrics.histogram("latency", unit="s")


@app.task(name="work")
def work() -> None:
    """Do it."""
    with latency.time():
        tasks.add(1)
    count()


if "CATALOGUE_FLUSH" in os.environ:

    @signals.worker_process_shutdown.connect
    def deliver(**_: object) -> None:
        """Deliver what is left: a process of Celery's pool ends with `os._exit`, which runs nothing else."""
        metrics.flush()
