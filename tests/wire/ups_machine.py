"""The states of a workitem against a plain model, whichever binding speaks with the node."""

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

LOCKS = ("1.2.3.1", "1.2.3.2", "")
STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")


class Driver(Protocol):
    """One binding: each returns the status word of PS3.4 section CC.2 that it was answered."""

    def create(self) -> str: ...

    def change(self, uid: str, state: str, lock: str) -> int: ...

    def perform(self, uid: str, lock: str) -> int: ...

    def explain(self, uid: str, lock: str) -> int: ...

    def ask_cancel(self, uid: str) -> int: ...

    def state(self, uid: str) -> str: ...

    def watch(self, uid: str) -> None: ...

    def heard(self, uid: str) -> list[str]:
        """Return the states that the watcher was told, in order."""


@dataclass
class Step:
    """What the model knows of one workitem."""

    state: str = "SCHEDULED"
    lock: str = ""
    performed: bool = False
    explained: bool = False
    watched: bool = False


class UpsMachine(RuleBasedStateMachine):
    """Random clients at once, without regard to the rules."""

    driver: ClassVar[Driver]
    steps = Bundle("steps")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Step] = {}
        self.told: dict[str, list[str]] = defaultdict(list)

    @rule(target=steps)
    def create(self) -> str:
        uid = self.driver.create()
        self.model[uid] = Step()
        return uid

    @rule(uid=steps)
    def watch(self, uid: str) -> None:
        step = self.model[uid]
        if not step.watched:
            self.driver.watch(uid)
            step.watched = True
            self.told[uid].append(step.state)

    @rule(uid=steps, state=st.sampled_from(STATES), lock=st.sampled_from(LOCKS))
    def change(self, uid: str, state: str, lock: str) -> None:
        step = self.model[uid]
        expected = self._expected(step, state, lock)
        assert self.driver.change(uid, state, lock) == expected
        if expected == 0:
            if state == "IN PROGRESS":
                step.lock = lock
            self._moved(uid, state)

    @rule(uid=steps, lock=st.sampled_from(LOCKS))
    def perform(self, uid: str, lock: str) -> None:
        if self._set(uid, lock, self.driver.perform):
            self.model[uid].performed = True

    @rule(uid=steps, lock=st.sampled_from(LOCKS))
    def explain(self, uid: str, lock: str) -> None:
        if self._set(uid, lock, self.driver.explain):
            self.model[uid].explained = True

    @rule(uid=steps)
    def ask_cancel(self, uid: str) -> None:
        step = self.model[uid]
        words = {"SCHEDULED": 0, "IN PROGRESS": 0xC312, "COMPLETED": 0xC311, "CANCELED": 0xB304}
        assert self.driver.ask_cancel(uid) == words[step.state]
        if step.state == "SCHEDULED":
            self._moved(uid, "IN PROGRESS")
            self._moved(uid, "CANCELED")

    @invariant()
    def the_node_and_the_model_agree(self) -> None:
        for uid, step in self.model.items():
            assert self.driver.state(uid) == step.state

    def teardown(self) -> None:
        for uid, states in self.told.items():
            assert self.driver.heard(uid) == states

    def _expected(self, step: Step, state: str, lock: str) -> int:
        ended = step.state in {"COMPLETED", "CANCELED"}
        if state == "SCHEDULED":
            return 0xC303
        if not lock:
            return 0xC301
        if state == "IN PROGRESS":
            return 0xC300 if ended else 0xC302 if step.state == "IN PROGRESS" else 0
        if step.state == "SCHEDULED":
            return 0xC310
        if lock != step.lock:
            return 0xC301
        if ended:
            already = {"COMPLETED": 0xB306, "CANCELED": 0xB304}
            return already[state] if state == step.state else 0xC300
        met = step.performed if state == "COMPLETED" else step.explained
        return 0 if met else 0xC304

    def _set(self, uid: str, lock: str, act: "object") -> bool:
        step = self.model[uid]
        if step.state in {"COMPLETED", "CANCELED"}:
            expected = 0xC300
        elif step.state == "SCHEDULED":
            expected = 0xC310 if lock else 0
        else:
            expected = 0 if lock == step.lock and lock else 0xC301
        assert act(uid, lock) == expected  # type: ignore[operator]
        return expected == 0

    def _moved(self, uid: str, state: str) -> None:
        step = self.model[uid]
        step.state = state
        if step.watched:
            self.told[uid].append(state)
