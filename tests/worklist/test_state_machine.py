"""Any sequence of commands, on a real database: no case is lost, doubled or held twice."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from storage import audit
from storage.engine import Database
from tests.services.migrated import migrate
from tests.worklist.examples import MINUTE, THORAX
from tests.worklist.room import HandClock, Room
from worklist import commands, queries, store
from worklist.case import CancelReason, Case, CaseState, DeclineReason
from worklist.errors import CaseMoveRefused, NotHolder, NotOfferedToReader, RequestClosed
from worklist.history import fold
from worklist.queue import in_line
from worklist.request import Form

READERS = ("r-1", "r-2", "r-3")
OPEN_AT_ONCE = 2


class Worklist(RuleBasedStateMachine):
    """Sites, consultants, the engine's own clockwork and a dispatcher, in any order."""

    cases = Bundle("cases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        database = Database(f"sqlite:///{self.folder / 'telerad.db'}", clock=HandClock())
        migrate(database)
        self.room = Room(database)
        self.room.hire(*READERS, max_open=OPEN_AT_ONCE)
        self.number = 0
        self.places: dict[str, tuple[object, ...]] = {}

    def teardown(self) -> None:
        """Every history folds to its state, and the audit chain holds."""
        for case in self._cases():
            history = self.room.ask(queries.case_history, case.id)
            assert fold(history) is case.state
        assert self.room.ask(lambda tx: list(audit.verify(tx))) == []
        self.room.database.dispose()
        shutil.rmtree(self.folder)

    @rule(target=cases, form=st.sampled_from(Form), study_first=st.booleans())
    def receive(self, form: Form, study_first: bool) -> int:
        self.number += 1
        if study_first:
            self.room.tell(self.room.study(self.number))
            self.room.request(self.number, form=form)
        else:
            self.room.request(self.number, form=form)
            self.room.tell(self.room.study(self.number))
        self.room.tell_own()
        return self.number

    @rule(number=cases, level=st.sampled_from(["none", "advise", "escalate", "critical"]))
    def settle(self, number: int, level: str) -> None:
        before = self.room.case(number)
        self.room.tell(self.room.settled(number, level))
        assert self.room.case(number).due <= before.due

    @rule()
    def do_due(self) -> None:
        self.room.do_due()

    @rule(minutes=st.sampled_from([1, 5, 15, 60, 600]))
    def wait(self, minutes: int) -> None:
        self.room.wait(minutes * MINUTE)

    @rule(number=cases, reader=st.sampled_from(READERS))
    def accept(self, number: int, reader: str) -> None:
        before = self.room.case(number)
        try:
            after = self.room.do(commands.accept, before.id, reader)
        except NotOfferedToReader:
            assert before.offered_to != reader
            return
        assert (before.offered_to, after.holder) == (reader, reader)

    @rule(number=cases, reason=st.sampled_from(DeclineReason))
    def decline(self, number: int, reason: DeclineReason) -> None:
        reader = self.room.case(number).offered_to
        if reader is not None:
            self.room.do(commands.decline, self.room.case_id(number), reader, reason)

    @rule(number=cases)
    def release(self, number: int) -> None:
        try:
            self.room.do(commands.release, self.room.case_id(number))
        except CaseMoveRefused:
            assert self.room.case(number).state not in {CaseState.OFFERED, CaseState.READING}

    @rule(number=cases, reader=st.sampled_from(READERS))
    def renew(self, number: int, reader: str) -> None:
        try:
            self.room.do(commands.renew, self.room.case_id(number), reader)
        except NotHolder:
            assert self.room.case(number).holder != reader

    @rule(number=cases)
    def ask_again(self, number: int) -> None:
        try:
            self.room.do(commands.ask_again, self.room.case_id(number))
        except CaseMoveRefused:
            assert self.room.case(number).state is not CaseState.ESCALATED

    @rule(number=cases, twice=st.booleans())
    def sign(self, number: int, twice: bool) -> None:
        case = self.room.case(number)
        if case.holder is None:
            return
        fact = self.room.signed(number, author=case.holder)
        self.room.tell(*([fact, fact] if twice else [fact]))

    @rule(number=cases, filed=st.booleans(), told=st.booleans())
    def deliver(self, number: int, filed: bool, told: bool) -> None:
        self.room.tell(
            *([self.room.filed(number)] if filed else []),
            *([self.room.notified(number)] if told else []),
        )

    @rule(target=cases, number=consumes(cases), reason=st.sampled_from(CancelReason))
    def cancel(self, number: int, reason: CancelReason) -> object:
        before = self.room.case(number)
        try:
            self.room.do(commands.cancel, before.id, reason)
        except (CaseMoveRefused, RequestClosed):
            return number
        return multiple()

    @rule(reader=st.sampled_from(READERS), present=st.booleans())
    def come_and_go(self, reader: str, present: bool) -> None:
        self.room.do(commands.set_presence, reader, present=present)

    @invariant()
    def no_case_is_lost_or_doubled(self) -> None:
        assert len(self._cases()) == self.number
        assert len({case.request_id for case in self._cases()}) == self.number

    @invariant()
    def one_consultant_at_most_has_a_case_and_none_has_too_many(self) -> None:
        hands = Counter[str]()
        for case in self._cases():
            assert (case.holder is not None) == (case.state is CaseState.READING)
            assert (case.offered_to is not None) == (case.state is CaseState.OFFERED)
            hands.update(r for r in (case.holder, case.offered_to) if r is not None)
            offers = self.room.ask(queries.offers_of, case.id)
            assert sum(o.ended_at is None for o in offers) == (case.offered_to is not None)
        assert all(count <= OPEN_AT_ONCE for count in hands.values())

    @invariant()
    def a_place_only_ever_moves_forward(self) -> None:
        for case in self._cases():
            due, arrival = self.places.get(case.id, (case.due, case.arrival_number))
            assert arrival == case.arrival_number
            assert case.due <= due
            self.places[case.id] = (case.due, case.arrival_number)

    @invariant()
    def the_queue_is_in_order(self) -> None:
        queue = self.room.ask(store.queue, THORAX)
        assert queue == in_line(queue)
        assert {c.id for c in queue} == {c.id for c in self._cases() if c.state is CaseState.QUEUED}

    @invariant()
    def no_case_waits_beside_a_free_consultant_once_looked_at(self) -> None:
        """Work-conserving: when nothing asks for a look, nobody free is left for a case."""
        if THORAX in self.room.ask(self.room.work.profiles_to_look_at):
            return
        view = self.room.ask(queries.queue_view, THORAX, settings=self.room.settings)
        assert [row.case.id for row in view if row.choice.reader is not None] == []

    def _cases(self) -> list[Case]:
        found: list[Case] = self.room.ask(queries.list_cases, limit=1000)
        return found


def test_no_sequence_of_commands_loses_doubles_or_shares_a_case():
    run_state_machine_as_test(
        Worklist,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
