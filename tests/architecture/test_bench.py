"""Whatever is measured is explained where its rows stand."""

from datetime import UTC, datetime

import pytest

from bench.__main__ import MEASUREMENTS
from bench.machine import described
from bench.report import written


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_every_measurement_can_be_written_down(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    text = written({name: []}, described(tmp_path), datetime(2026, 1, 1, tzinfo=UTC))

    assert f"## {name}" in text
