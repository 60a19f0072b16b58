"""Run one case in this process, with a deadline: `python run.py CASE [VARIANT]`, in an empty folder. Cases: `--list`."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parent.parent)

from catalogue.case import load
from catalogue.host import Host


def main(name: str, variant: str = "") -> None:
    """Run the case, and then the standard check."""
    one = load(name.partition(".")[0])[name]
    faulthandler.dump_traceback_later(one.deadline, exit=True)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy would start threads of its own
    if getattr(sys.modules[one.run.__module__], "QUIET", False):
        logging.getLogger("metrics_sdk").addHandler(logging.NullHandler())
    host = Host(variant, Path.cwd())
    one.run(host)
    host.check()
    faulthandler.cancel_dump_traceback_later()
    print("passed", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print(os.linesep.join([f"{name:50} {one.row}" for name, one in load().items()]))
    else:
        main(*sys.argv[1:])
