"""A case's triage settles once, whatever happens on the way, and a fault never holds it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from ai_assist import commands
from ai_assist.errors import InferenceTimedOut, LeaseLost
from ai_assist.level import Level
from ai_assist.overview import triage_of
from ai_assist.reactions import CONSUMER, reactions
from ai_assist.runs import LEASE, MAX_ATTEMPTS, RunState, fail
from ai_assist.shelf import Shelf, shipped_models
from ai_assist.store import results_of
from ai_assist.tasks import due_work
from dicom_node.apart import decompressed
from kernel.digest import sha256_of
from kernel.errors import Transient
from kernel.facts import CaseOpened
from storage import archive, audit
from storage.objects import ObjectStoreUnavailable
from tests.ai_assist.films import STUDY, film, noise, real_chests
from tests.ai_assist.room import CASE, Room, opened

HAND = {"BodyPartExamined": "HAND"}


def run_due(room: Room) -> None:
    for run_id in room.due():
        room.work.run_triage(run_id)


def test_a_film_that_is_no_chest_ends_as_advice_with_its_report(room: Room) -> None:
    room.receive(film(noise()))
    room.open_case()
    run_due(room)
    (run,) = room.runs()
    (fact,) = room.settled()
    assert (run.state, run.level, run.reason) == (RunState.SETTLED, Level.ADVISE, "raised")
    assert (fact.outcome, fact.level, fact.reason) == ("settled", "advise", "raised")
    assert (fact.case_id, fact.run_ids, fact.cause) == (CASE, [run.id], "fact-1")
    assert run.sr_key == f"triage/{run.id}/sr.dcm"
    stored = room.objects.get(run.sr_key)
    assert sha256_of(stored) == run.sr_sha256
    assert dcmread(BytesIO(stored)).SOPInstanceUID == run.sr_instance_uid
    assert room.due() == []


@pytest.mark.shared
def test_a_good_chest_film_ends_with_nothing_raised(room: Room) -> None:
    films = real_chests("nih", 3)
    if not films:
        pytest.skip("the chest films are not beside the project")
    room.receive(*[film(greys, number=n) for n, greys in enumerate(films)])
    room.open_case()
    run_due(room)
    (fact,) = room.settled()
    assert (fact.outcome, fact.level, fact.reason) == ("settled", "none", "nothing_raised")


def test_a_study_of_another_modality_is_skipped_at_once(room: Room) -> None:
    room.receive(film(noise(), Modality="CT"))
    assert room.open_case() == ()
    (fact,) = room.settled()
    assert (fact.outcome, fact.level, fact.reason) == ("skipped", "none", "no_model_for_modality")
    assert fact.run_ids == []


def test_without_any_model_triage_is_skipped(room: Room) -> None:
    room.shelf = Shelf([])
    room.receive(film(noise()))
    room.open_case()
    assert [fact.reason for fact in room.settled()] == ["no_model_on_the_shelf"]


def test_a_study_nobody_knows_is_skipped_and_holds_nothing(room: Room) -> None:
    with room.database.transaction() as tx:
        assert commands.plan_triage(tx, opened(1), room.shelf.cards) == ()
    assert [fact.reason for fact in room.settled()] == ["study_unknown"]


def test_a_film_the_card_does_not_cover_is_skipped_with_its_reason(room: Room) -> None:
    room.receive(film(noise(), **HAND))
    room.open_case()
    run_due(room)
    (fact,) = room.settled()
    assert (fact.outcome, fact.level, fact.reason) == ("skipped", "none", "body_part_not_covered")


def test_one_covered_film_among_others_is_enough(room: Room) -> None:
    room.receive(film(noise(), **HAND), film(noise(), number=2))
    room.open_case()
    run_due(room)
    assert [fact.outcome for fact in room.settled()] == ["settled"]


def test_corrupt_pixels_fail_the_run_and_the_case_goes_on(room: Room) -> None:
    room.receive(film(noise()), damage=5000)
    room.open_case()
    run_due(room)
    (run,), (fact,) = room.runs(), room.settled()
    assert (run.state, run.reason) == (RunState.FAILED, "ai_assist.film_unreadable")
    assert (fact.outcome, fact.level) == ("failed", "none")


def squeezed(cut: int | None = None) -> Dataset:
    """Return a film in the lossless JPEG that GDCM alone opens."""
    image = film(noise(), bits=8)
    stream = bytes(imagecodecs.ljpeg_encode(image.pixel_array))
    image.PixelData = encapsulate([stream[:cut]])
    image.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    return image


@pytest.mark.parametrize(("cut", "outcome"), [(None, "settled"), (900, "failed"), (30, "failed")])
def test_what_may_end_the_process_of_its_decoder_is_decoded_apart(
    room: Room, cut: int | None, outcome: str
) -> None:
    room.receive(squeezed(cut))
    room.open_case()
    (run_id,) = room.due()
    replace(room.work, decodable=decompressed).run_triage(run_id)
    (fact,) = room.settled()
    assert fact.outcome == outcome
    assert outcome == "settled" or fact.reason == "ai_assist.film_unreadable"


def test_spoiled_weights_fail_the_run_and_the_case_goes_on(room: Room, tmp_path: Path) -> None:
    models = Path(shutil.copytree(shipped_models(), tmp_path / "models"))
    room.shelf = Shelf([models])
    room.receive(film(noise()))
    room.open_case()
    (weights,) = models.glob("*/*/models/model.onnx")
    weights.write_bytes(b"other")
    run_due(room)
    (fact,) = room.settled()
    assert (fact.outcome, fact.level) == ("failed", "none")
    assert fact.reason == "ai_assist.model_disabled"


class Faulty:
    """A model that raises instead of scoring."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def predict(self, tensor: NDArray[np.float32]) -> dict[str, float]:
        raise self.error


def with_model(room: Room, error: Exception) -> None:
    room.shelf = Shelf([shipped_models()], load=lambda card, graph: Faulty(error))


def test_a_model_that_takes_too_long_fails_and_the_case_goes_on(room: Room) -> None:
    with_model(room, InferenceTimedOut("too long"))
    room.receive(film(noise()))
    room.open_case()
    run_due(room)
    assert [fact.reason for fact in room.settled()] == ["ai_assist.inference_timed_out"]


def test_a_fault_nobody_thought_of_settles_and_is_still_heard_of(room: Room) -> None:
    with_model(room, ZeroDivisionError("a bug"))
    room.receive(film(noise()))
    room.open_case()
    (run_id,) = room.due()
    with pytest.raises(ZeroDivisionError):
        room.work.run_triage(run_id)
    assert [(f.outcome, f.reason) for f in room.settled()] == [("failed", "ai_assist.fault")]


class Unreachable:
    """An archive whose bytes lie elsewhere until `answers`."""

    def __init__(self, room: Room, *, refusals: int) -> None:
        self.room, self.refusals = room, refusals

    def read(self, instance_uid: str) -> bytes:
        if self.refusals > 0:
            self.refusals -= 1
            raise Transient("the bytes lie in another node's journal")
        return self.room.archive.read(instance_uid)


def test_what_fails_outside_is_tried_again_later(room: Room) -> None:
    room.receive(film(noise()))
    room.open_case()
    work = replace(room.work, archive=Unreachable(room, refusals=1))
    (run_id,) = room.due()
    work.run_triage(run_id)
    assert room.due() == []
    room.clock.forward(timedelta(minutes=1))
    work.run_triage(run_id)
    assert [fact.outcome for fact in room.settled()] == ["settled"]
    assert room.runs()[0].attempts == 2


def test_what_fails_for_ever_is_given_up(room: Room) -> None:
    room.receive(film(noise()))
    room.open_case()
    work = replace(room.work, archive=Unreachable(room, refusals=99))
    for _ in range(MAX_ATTEMPTS):
        for run_id in room.due():
            work.run_triage(run_id)
        room.clock.forward(timedelta(minutes=5))
    assert room.due() == []
    assert [(f.outcome, f.level, f.reason) for f in room.settled()] == [
        ("failed", "none", "transient")
    ]


class Killed(BaseException):
    """Stands for kill -9: nothing of the engine runs after it."""


class DyingObjects:
    """An object store that takes the worker down before or after it stored."""

    def __init__(self, room: Room, *, after: bool) -> None:
        self.room, self.after = room, after

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        if self.after:
            self.room.objects.put(key, data, digest)
        raise Killed

    def __getattr__(self, name: str) -> object:
        return getattr(self.room.objects, name)


class DyingArchive:
    """An archive that takes the worker down at the n-th read."""

    def __init__(self, room: Room, *, at: int) -> None:
        self.room, self.left = room, at

    def read(self, instance_uid: str) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return self.room.archive.read(instance_uid)


KILLS: dict[str, Callable[[Room], object]] = {
    "before the first image": lambda room: replace(room.work, archive=DyingArchive(room, at=0)),
    "between two images": lambda room: replace(room.work, archive=DyingArchive(room, at=1)),
    "before the report": lambda room: replace(room.work, objects=DyingObjects(room, after=False)),
    "after the report": lambda room: replace(room.work, objects=DyingObjects(room, after=True)),
}


@pytest.mark.parametrize("name", KILLS)
def test_killed_anywhere_the_next_worker_ends_it_once(room: Room, name: str) -> None:
    room.receive(film(noise(seed=1), number=1), film(noise(seed=2), number=2))
    room.open_case()
    (run_id,) = room.due()
    dying = KILLS[name](room)
    with pytest.raises(Killed):
        dying.run_triage(run_id)  # type: ignore[attr-defined]
    assert room.due() == []
    assert room.settled() == []
    room.work.run_triage(run_id)  # the lease still holds: nothing happens
    assert room.settled() == []
    room.clock.forward(LEASE)
    assert room.due() == [run_id]
    room.work.run_triage(run_id)
    room.work.run_triage(run_id)
    (run,) = room.runs()
    assert (run.state, run.attempts) == (RunState.SETTLED, 2)
    assert len(room.settled()) == 1
    assert sha256_of(room.objects.get(run.sr_key or "")) == run.sr_sha256


def test_a_run_that_takes_its_worker_down_each_time_is_given_up(room: Room) -> None:
    room.receive(film(noise()))
    room.open_case()
    (run_id,) = room.due()
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Killed):
            replace(room.work, archive=DyingArchive(room, at=0)).run_triage(run_id)
        room.clock.forward(LEASE)
    room.work.run_triage(run_id)
    assert [(f.outcome, f.reason) for f in room.settled()] == [("failed", "worn_out")]


def test_a_worker_that_was_away_too_long_changes_nothing(room: Room) -> None:
    room.receive(film(noise()))
    (run,) = room.open_case()
    with room.database.transaction() as tx:
        slow = commands.claim_run(tx, run.id, holder="slow")
    assert slow is not None
    room.clock.forward(LEASE)
    with room.database.transaction() as tx:
        assert commands.claim_run(tx, run.id, holder="quick") is not None
    with pytest.raises(LeaseLost), room.database.transaction() as tx:
        commands.end_run(tx, fail(slow, reason="x", at=tx.at), holder="slow")
    assert room.runs()[0].holder == "quick"


def test_the_same_film_is_scored_once_for_each_model_version(room: Room) -> None:
    image = film(noise())
    room.receive(image)
    room.open_case()
    run_due(room)
    with room.database.transaction() as tx:
        commands.plan_triage(tx, replace(opened(1, "case-2"), id="fact-2"), room.shelf.cards)
    run_due(room)
    card = room.shelf.cards[0]
    with room.database.reading() as tx:
        results = results_of(
            tx, [str(image.SOPInstanceUID)], model_id=card.id, model_version=card.version
        )
    (result,) = results.values()
    assert result.run_id == room.runs()[0].id
    assert [fact.outcome for fact in room.settled()] == ["settled", "settled"]


def test_a_case_is_planned_once_however_often_it_is_told(room: Room) -> None:
    room.receive(film(noise()))
    assert room.open_case() == room.open_case()
    run_due(room)
    room.open_case()
    assert room.due() == []
    assert len(room.settled()) == 1


def test_the_package_listens_for_opened_cases(room: Room) -> None:
    room.receive(film(noise()))
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)
        reactions(room.shelf)[CONSUMER][CaseOpened](tx, opened(1))
    (work,) = due_work(room.work)
    with room.database.reading() as tx:
        due = work.due(tx)
    for run_id in due:
        work.run(run_id)
    assert (work.queue, [fact.outcome for fact in room.settled()]) == ("ai", ["settled"])


def test_a_full_store_is_tried_again(room: Room) -> None:
    class Full:
        def put(self, key: str, data: bytes | Path, digest: str) -> None:
            raise ObjectStoreUnavailable("the disk of the object store is full")

    room.receive(film(noise()))
    room.open_case()
    (run_id,) = room.due()
    replace(room.work, objects=Full()).run_triage(run_id)  # type: ignore[arg-type]
    assert room.runs()[0].state is RunState.PLANNED
    room.clock.forward(timedelta(minutes=1))
    run_due(room)
    assert [fact.outcome for fact in room.settled()] == ["settled"]


def test_two_models_settle_the_case_together(room: Room) -> None:
    (card,) = room.shelf.cards
    second = replace(card, id="second-qc")
    room.receive(film(noise()))
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)
        planned = commands.plan_triage(tx, opened(1), (card, second))
    assert len(planned) == 2
    first, other = room.due()
    room.work.run_triage(first)
    assert room.settled() == []
    room.work.run_triage(other)
    (fact,) = room.settled()
    assert (fact.outcome, fact.level) == ("settled", "advise")
    assert sorted(fact.run_ids) == sorted(run.id for run in planned)
    states = {run.model_id: run.state for run in room.runs()}
    assert states == {"cxr-qc": RunState.SETTLED, "second-qc": RunState.FAILED}


def test_a_page_sees_what_was_raised_and_by_which_run(room: Room) -> None:
    room.receive(film(noise()))
    room.open_case()
    with room.database.reading() as tx:
        waiting = triage_of(tx, CASE, room.shelf)
    assert waiting is not None
    assert (waiting.outcome, waiting.runs[0].hints) == (None, ())
    run_due(room)
    with room.database.reading() as tx:
        seen = triage_of(tx, CASE, room.shelf)
        assert triage_of(tx, "another", room.shelf) is None
    assert seen is not None
    assert (seen.outcome, seen.level, seen.reason) == ("settled", "advise", "raised")
    (hint,) = seen.runs[0].hints
    assert (hint.name, hint.level) == ("chest", Level.ADVISE)


def test_every_step_is_in_the_audit_chain(room: Room) -> None:
    room.receive(film(noise()))
    room.open_case()
    run_due(room)
    with room.database.reading() as tx:
        entries = audit.of_case(tx, CASE)
        assert list(audit.verify(tx)) == []
    assert [entry.action for entry in entries] == [
        "triage.planned",
        "triage.run_settled",
        "triage.settled",
    ]
    assert entries[1].detail["weights"] == room.shelf.cards[0].weights_digest
