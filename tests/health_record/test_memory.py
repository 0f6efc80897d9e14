"""The twin announces itself and is not for production."""

import pytest
from structlog.testing import capture_logs

from health_record.adapters.memory import MemoryRecord
from kernel.errors import Misconfigured


def test_the_twin_says_that_it_is_one():
    with capture_logs() as logs:
        MemoryRecord(production=False)

    assert [entry["event"] for entry in logs] == ["record.in_memory"]


def test_the_twin_refuses_production():
    with pytest.raises(Misconfigured, match="not for production"):
        MemoryRecord(production=True)
