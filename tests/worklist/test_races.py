"""Several workers at once: nobody gets what another has, and no turn is given twice."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

from kernel.errors import EngineError, Transient
from tests.worklist.examples import THORAX
from tests.worklist.room import NEURO, Room
from worklist import commands, queries, store
from worklist.case import CancelReason, CaseState, DeclineReason
from worklist.errors import CaseMoveRefused, NotOfferedToReader
from worklist.readers import Competence


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run acts at the same moment, each in its thread; return what each gave or raised."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return act()
        except EngineError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_two_answers_to_one_offer_end_in_one_of_them(room: Room):
    room.hire("r-1", max_open=99)
    for number in range(1, 9):
        case_id = room.queue(number).id
        room.offer_all()
        results = at_once(
            lambda id=case_id: room.do(commands.accept, id, "r-1"),
            lambda id=case_id: room.do(commands.accept, id, "r-1"),
            lambda id=case_id: room.do(commands.decline, id, "r-1", DeclineReason.NO_TIME),
        )
        refused = [r for r in results if isinstance(r, NotOfferedToReader)]
        assert len(refused) == 2
        claimed = room.facts(case_id).count("CaseClaimed")
        released = room.facts(case_id).count("CaseReleased")
        assert claimed + released == 1


def test_workers_that_offer_at_once_give_each_case_once_and_keep_the_rotation(room: Room):
    readers = [f"r-{n}" for n in range(1, 5)]
    room.hire(*readers, max_open=99)
    cases = 20
    for number in range(1, cases + 1):
        room.queue(number)
    for _ in range(3):  # a worker that finds the rotation taken leaves it to the one who has it
        at_once(*[lambda: room.work.offer(THORAX)] * 4)
    line = sorted(room.ask(queries.list_cases), key=lambda case: case.arrival_number)
    assert [case.offered_to for case in line] == readers * (cases // len(readers))
    offers = [len(room.ask(queries.offers_of, case.id)) for case in line]
    assert offers == [1] * cases


def test_two_lists_at_once_never_give_a_consultant_more_than_the_limit(room: Room):
    lists = (Competence(THORAX), Competence(NEURO))
    for number in range(1, 9):
        room.request(number)
        modality = "DX" if number % 2 else "MR"
        room.tell(room.study(number, modality=modality), room.settled(number))
    room.hire("r-1", "r-2", max_open=1, competences=lists)
    for _ in range(3):
        at_once(lambda: room.work.offer(THORAX), lambda: room.work.offer(NEURO))
    offered = Counter(case.offered_to for case in room.ask(queries.list_cases))
    assert {reader: offered[reader] for reader in ("r-1", "r-2")} == {"r-1": 1, "r-2": 1}


def test_a_request_and_its_study_that_come_at_once_always_find_each_other(room: Room):
    for number in range(1, 13):

        def request(n: int = number) -> None:
            taken = room.request(n)
            room.do(commands.join_request, taken.id)

        def study(n: int = number) -> None:
            room.tell(room.study(n))

        results = at_once(request, study)
        assert not any(isinstance(result, Exception) for result in results)
        assert room.ask(store.find_case, room.case_id(number)) is not None
        assert room.facts(room.case_id(number)) == ["CaseOpened"]
    assert room.ask(queries.desk) == []


def test_a_request_waits_for_a_study_that_is_just_being_put_on_the_desk(room: Room):
    completed = room.study(1)

    def request() -> None:
        taken = room.request(1)
        room.do(commands.join_request, taken.id)

    with ThreadPoolExecutor(1) as pool:
        with room.database.transaction() as tx:
            commands.open_case(tx, completed.study_uid, settings=room.settings, act=room.act(tx))
            asked = pool.submit(request)
            wait([asked], timeout=0.5)  # gives a request that does not wait the time to go wrong
        asked.result()
    assert room.facts(room.case_id(1)) == ["CaseOpened"]
    assert room.ask(queries.desk) == []


def test_a_cancellation_and_an_offer_at_once_leave_one_story(room: Room):
    room.hire("r-1", max_open=99)
    for number in range(1, 9):
        case_id = room.queue(number).id
        results = at_once(
            lambda: room.work.offer(THORAX),
            lambda id=case_id: room.do(commands.cancel, id, CancelReason.BY_SITE),
        )
        refused = [r for r in results if isinstance(r, Exception)]
        assert all(isinstance(r, Transient | CaseMoveRefused) for r in refused)
        case = room.case(number)
        offers = room.ask(queries.offers_of, case_id)
        assert case.state in {CaseState.CANCELLED, CaseState.OFFERED}
        assert sum(o.ended_at is None for o in offers) == (case.state is CaseState.OFFERED)


def test_a_whole_day_of_traffic_from_many_hands_has_no_deadlock(room: Room):
    lists = (Competence(THORAX), Competence(NEURO))
    readers = [f"r-{n}" for n in range(1, 4)]
    room.hire(*readers, max_open=2, competences=lists)
    for number in range(1, 13):
        room.request(number)
        modality = "DX" if number % 2 else "MR"
        room.tell(room.study(number, modality=modality), room.settled(number))

    def engine() -> None:
        for _ in range(12):
            room.do_due()

    def reader(id: str) -> None:
        for _ in range(12):
            for case in room.ask(queries.list_cases, reader=id, state=CaseState.OFFERED):
                try:
                    room.do(commands.accept, case.id, id)
                except NotOfferedToReader:
                    continue
                room.do(commands.renew, case.id, id)
                number = int(case.accession.removeprefix("A"))
                room.tell(room.signed(number, author=id))
            room.do(commands.set_presence, id, present=True)

    results = at_once(engine, engine, *[lambda id=id: reader(id) for id in readers])
    assert [r for r in results if isinstance(r, Exception)] == []
    while not all(c.state is CaseState.SIGNED for c in room.ask(queries.list_cases)):
        results = at_once(engine, *[lambda id=id: reader(id) for id in readers])
        assert [r for r in results if isinstance(r, Exception)] == []
    for case in room.ask(queries.list_cases):
        assert room.facts(case.id).count("CaseSigned") == 1
