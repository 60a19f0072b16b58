"""The fixture that pytest finds in every environment with this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from metrics_sdk.testing import IsolatedMetrics


@pytest.fixture
def isolated_metrics() -> Iterator[IsolatedMetrics]:
    """A clean process-wide SDK for one test; see `metrics_sdk.testing.IsolatedMetrics`."""
    from metrics_sdk.testing import isolated  # not before a test asks for it

    with isolated() as metrics:
        yield metrics
