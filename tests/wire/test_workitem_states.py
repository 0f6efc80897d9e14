"""The states of workitems through pynetdicom, against the model."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.wire.conftest import Node, start
from tests.wire.performer import (
    Performer,
    Watcher,
    a_workitem,
    discontinued,
    performed,
    tell_due,
    watching,
)
from tests.wire.ups_machine import UpsMachine


class Dimse:
    """The machine's client: VAN1 acts and VAN1 listens."""

    def __init__(self, node: Node, watcher: Watcher) -> None:
        self._node = node
        self._client = Performer(node.port)
        self._watcher = watcher

    def create(self) -> str:
        status, uid = self._client.create(a_workitem())
        assert status == 0
        return uid

    def change(self, uid: str, state: str, lock: str) -> int:
        return self._client.change(uid, state, lock)

    def perform(self, uid: str, lock: str) -> int:
        return self._client.set(uid, performed(), lock)

    def explain(self, uid: str, lock: str) -> int:
        return self._client.set(uid, discontinued(), lock)

    def ask_cancel(self, uid: str) -> int:
        return self._client.ask_cancel(uid)

    def state(self, uid: str) -> str:
        found = self._client.get(uid, [0x00080018, 0x00741000])[1]
        assert found is not None
        return str(found.ProcedureStepState)

    def watch(self, uid: str) -> None:
        assert self._client.watch(uid, 3, "VAN1") == 0

    def heard(self, uid: str) -> list[str]:
        tell_due(self._node.database)
        return self._watcher.states(uid)


@pytest.fixture
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dimse]:
    node = start(tmp_path_factory.mktemp("states"))
    with watching(node.database) as watcher:
        yield Dimse(node, watcher)
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def test_the_states_of_a_workitem_are_those_of_the_table(driver: Dimse) -> None:
    class Machine(UpsMachine):
        pass

    Machine.driver = driver
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
