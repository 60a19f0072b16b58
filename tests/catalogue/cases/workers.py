"""Workers of a queue: what their processes tell together is exactly what was done."""

from __future__ import annotations

import subprocess
import sys

from catalogue.case import case
from catalogue.fleet import Fleet, command, program
from catalogue.host import Host
from servers import free_port, until

TASKS = "catalogue.applications.tasks"

#: Asks for so many tasks.
SEND = """
from celery import Celery

app = Celery(broker=sys.argv[1])
app.conf.task_ignore_result = True
for _ in range(int(sys.argv[2])):
    app.send_task("work")
"""


@case(
    "Celery",
    variants=("", "flushed"),
    needs=("fork", "celery", "redis", f"command:{program('redis-server')}"),
    deadline=120,
)
def celery(host: Host) -> None:
    """A worker of Celery forks processes, replaces each after some tasks, and is ended by TERM when all tasks are done.

    Celery's processes end with `os._exit`: by itself, or where the application flushes at `worker_process_shutdown`,
    what they have recorded is delivered.
    """
    port = free_port()
    tasks = host.size(150, 5000)
    redis = subprocess.Popen(
        [*command("redis-server"), f"--port {port}", "--bind 127.0.0.1", "--save", "", "--logfile redis.log"],
        cwd=host.folder,
    )
    environment = {"CATALOGUE_BROKER": f"redis://127.0.0.1:{port}/0", **({"CATALOGUE_FLUSH": "1"} if host.variant else {})}
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=INFO")
    arguments = ("worker", "--concurrency=3", f"--max-tasks-per-child={tasks // 6}", *quiet)
    try:
        with Fleet(host, sys.executable, "-m", "celery", "-A", TASKS, *arguments, **environment) as fleet:
            fleet.ready(" ready")
            host.python(SEND, environment["CATALOGUE_BROKER"], str(tasks))
            until(lambda: sum(fleet.counted().values()) == tasks, "all tasks are done", 60)
            assert fleet.threads() == 1, "the worker's first process has started a thread, and has recorded nothing"
            assert fleet.end(seconds=30) == 0, fleet.log.read_text()
            told, log = fleet.told(), fleet.log.read_text()
            assert told.total("requests") == told.total("latency") == tasks, (told, fleet.counted(), log)
            assert told.instances("requests") == len(fleet.counted()) > 3, (told, fleet.counted(), log)
            assert "Traceback" not in log, log
    finally:
        redis.terminate()
        redis.wait(10)
