"""Lets the tests of this folder import what they share, and makes meter providers for them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from metrics_sdk_opentelemetry import MeterProvider


@pytest.fixture
def provider() -> Iterator[Callable[..., MeterProvider]]:
    made: list[MeterProvider] = []

    def make(*args: Any, **more: Any) -> MeterProvider:
        made.append(MeterProvider(*args, shutdown_on_exit=False, **more))
        return made[-1]

    yield make
    logging.disable(logging.CRITICAL)
    for one in made:
        one.shutdown()
    logging.disable(logging.NOTSET)
