"""The demo in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import pytest

WIDTH, HEIGHT = 60, 20


def output_in_terminal(folder):
    """Run the demo in a terminal of WIDTH x HEIGHT until it has drawn three times; return its status and what it drew."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "metrics_sdk", "demo", "--seconds", "60", "--port", "0"],
        cwd=folder,
        env={**environment, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    drawn = b""
    try:
        while True:
            try:
                drawn += os.read(controller, 65536)
            except OSError:  # how Linux says that the other side is closed
                break
            if drawn.count(b"\x1b[J") == 3:
                process.send_signal(signal.SIGINT)
        return process.wait(30), drawn.decode()
    finally:
        process.kill()
        process.wait()
        os.close(controller)


@pytest.mark.slow
def test_in_a_terminal_it_redraws_within_the_window_and_gives_the_cursor_back(tmp_path):
    """Every frame fits the window, each but the first begins where the one before began, and the cursor is shown at the end."""
    status, drawn = output_in_terminal(tmp_path)
    assert 0 == status
    before, *frames = drawn.split("\x1b[?25l")
    assert len(frames) >= 3
    assert "/metrics" in before
    bodies = []
    for frame in [*frames[:-1], frames[-1].partition("\x1b[J")[0]]:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame)
        bodies.append([line.strip("\r") for line in text.splitlines() if line.strip("\r")])
    assert all(len(body) < HEIGHT for body in bodies)
    assert all(len(line) <= WIDTH for body in bodies for line in body)
    for body, frame in zip(bodies, frames[1:], strict=False):
        assert f"\r\x1b[{len(body)}A" == frame[: len(f"\r\x1b[{len(body)}A")]
    last = frames[-1].partition("\x1b[J")[2]
    assert last.rindex("\x1b[?25h") > last.rindex("\x1b[J")
    assert last.rstrip().endswith("pending 0")
