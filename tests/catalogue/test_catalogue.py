"""The fault catalogue: whatever happens in a host, instrumentation neither harms it nor lies. Each case is a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from catalogue.case import Case, load
from catalogue.host import IGNORED

RUN = Path(__file__).with_name("run.py")
REQUIRED = bool(os.environ.get("METRICS_SDK_REQUIRE_SERVERS"))
EVERY = [(one, variant) for one in load().values() for variant in one.variants]


@pytest.mark.slow
@pytest.mark.parametrize(("one", "variant"), EVERY, ids=[f"{one.name}[{variant}]".replace("[]", "") for one, variant in EVERY])
def test_the_host_is_not_harmed_and_every_value_is_accounted_for(one: Case, variant: str, tmp_path: Path) -> None:
    missing = one.missing()
    if missing:
        assert not REQUIRED or set(missing) <= {"fork", "gil"}, f"{one.name} needs {missing}, which must be there in CI"
        pytest.skip(f"needs {', '.join(missing)}")
    command = [sys.executable, *IGNORED, str(RUN), one.name, variant]
    # The case ends itself, with the stacks of its threads; this deadline is for what does not even do that.
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=one.deadline + 30, check=False)
    told = f"status {done.returncode}\n{done.stdout[-20000:]}\n{done.stderr[-20000:]}"
    assert (0, True) == (done.returncode, done.stdout.endswith("passed\n")), told
    assert one.stderr or not done.stderr, told
