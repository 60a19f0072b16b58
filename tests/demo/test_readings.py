"""What is read from /proc, and what is made of it."""

from __future__ import annotations

import pytest

from metrics_sdk.demo.machine import observed, unavailable, usage
from metrics_sdk.demo.readings import Portable, Proc

STAT = "cpu  100 20 30 800 40 5 6 7 0 0\ncpu0 100 20 30 800 40 5 6 7 0 0\nintr 1\n"
MEMINFO = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\n"
DISKSTATS = """   8       0 sda 10 0 4 5 20 0 6 7 0 8 9
   8       1 sda1 10 0 4 5 20 0 6 7 0 8 9
   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0
"""
NET_DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      200       2    0    0    0     0       0          0
  eth0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
"""


@pytest.fixture
def proc(tmp_path):
    """A /proc with one disk that has a partition, and one interface in use."""
    (tmp_path / "net").mkdir()
    for name, text in {"stat": STAT, "meminfo": MEMINFO, "diskstats": DISKSTATS, "net/dev": NET_DEV}.items():
        (tmp_path / name).write_text(text)
    for device in ("sda", "loop0"):
        (tmp_path / "block" / device).mkdir(parents=True)
    return Proc(tmp_path, tmp_path / "block")


def test_the_files_of_proc_are_read_in_bytes_and_ticks(proc):
    """Memory is what is not available; disks are whole devices that were used, in sectors of 512 bytes; interfaces likewise."""
    assert {"user": 120, "system": 48, "iowait": 40, "idle": 800} == proc.cpu()
    assert [(600 * 1024, {})] == proc.memory()
    assert [(2048, {"device": "sda", "direction": "read"}), (3072, {"device": "sda", "direction": "write"})] == proc.disks()
    assert [(100, {"device": "lo"})] == proc.received()
    assert [(200, {"device": "lo"})] == proc.sent()


def test_what_cannot_be_read_is_empty_and_said(tmp_path):
    """Without any of the files nothing fails, and what is missing is named."""
    assert ["cpu.usage", "mem.used", "disk.io", "net.rx", "net.tx"] == unavailable(Proc(tmp_path, tmp_path))


def test_without_proc_the_standard_library_is_asked():
    """The portable source knows this process's time and memory, and nothing of disks and network."""
    assert {"process", "idle"} == set(Portable().cpu())
    assert {"disk.io", "net.rx", "net.tx"} <= set(unavailable(Portable()))


def test_usage_is_each_modes_share_of_the_time_that_passed():
    """The shares are of the difference of two readings, idle time left out; where no time passed there are none."""
    before, now = {"user": 10.0, "system": 5.0, "idle": 100.0}, {"user": 40.0, "system": 15.0, "idle": 160.0}
    assert {"user": 0.3, "system": 0.1} == usage(before, now)
    assert {} == usage(now, now)


def test_what_the_machine_did_before_is_not_part_of_the_totals(isolated_metrics, proc, tmp_path):
    """Counted are the bytes since the demo began: a total since the boot would make nonsense of the rate."""
    with observed(proc):
        isolated_metrics.flush()
        isolated_metrics.assert_sum("net.rx", 0, {"device": "lo"})
        (tmp_path / "net/dev").write_text(NET_DEV.replace(" 100 ", " 142 "))
        isolated_metrics.flush()
        isolated_metrics.assert_sum("net.rx", 42, {"device": "lo"})
        isolated_metrics.assert_last("mem.used", 600 * 1024)
