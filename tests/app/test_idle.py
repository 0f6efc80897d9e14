"""What is looked for again and again is found by indexes: to look costs the same in any archive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert

from app.bootstrap import Parts
from app.settings import load
from bench.census import enter
from storage import outbox
from storage.engine import Transaction
from storage.signs import Signs
from storage.tables.ai_assist import TRIAGE_PLANS, TRIAGE_RUNS
from storage.tables.outbox import FACTS

FEW, MANY = 10, 1500


def test_to_look_for_work_costs_no_more_where_much_was_done(tmp_path: Path) -> None:
    few, many = (steps(tmp_path / str(number), number) for number in (FEW, MANY))
    assert few.keys() == many.keys()
    assert {name: many[name] for name in few if many[name] > 2 * few[name]} == {}


def steps(data: Path, studies: int) -> dict[str, int]:
    """Return what each look takes where so many studies came and went, in steps of SQLite."""
    parts = Parts(load(data))
    parts.prepare(migrate=True)
    database, taken = parts.database, [0]
    enter(database, studies)
    with database.transaction() as tx:
        add_the_past(tx, studies)
    database.dispose()

    @event.listens_for(database.engine, "connect")
    def _count(raw: Any, _record: object) -> None:
        raw.set_progress_handler(lambda: taken.__setitem__(0, taken[0] + 1), 1)

    looks: dict[str, Callable[[Transaction], object]]
    looks = {work.name: work.due for work in parts.due_work()}
    looks |= {"packs": parts.packer.due, "newest": lambda tx: outbox.newest(tx) - studies}
    every = {work.name: work.signs for work in parts.due_work()}
    assert all(every.values()), "work without a sign is looked for at each turn"
    looks["signs"] = Signs({"outbox": outbox.SIGNS, **every}).seen
    found = {}
    for name, look in looks.items():
        with database.reading() as tx:
            taken[0] = 0
            assert not look(tx)
            found[name] = taken[0]
    database.dispose()
    return found


def add_the_past(tx: Transaction, number: int) -> None:
    """Add facts that everybody heard, and triage that ended."""
    numbers = range(number)
    told: dict[str, Any] = {
        "kind": "k",
        "version": 1,
        "subject": "s",
        "at": tx.at,
        "actor": "a",
        "body": {},
    }
    tx.execute(insert(FACTS), [told | {"id": f"f-{n}", "fanned_out": True} for n in numbers])
    plan = {"study_uid": "1.2", "cause": "c", "planned_at": tx.at, "settled_at": tx.at}
    tx.execute(insert(TRIAGE_PLANS), [plan | {"case_id": f"c-{n}"} for n in numbers])
    names = ("study_uid", "manifest_digest", "model_id", "model_version", "weights_digest")
    run: dict[str, Any] = dict.fromkeys(names, "x")
    run |= {"manifest_version": 1, "state": "succeeded", "reason": "", "level": "", "attempts": 1}
    run |= dict.fromkeys(("due_at", "planned_at", "moved_at"), tx.at)
    tx.execute(insert(TRIAGE_RUNS), [run | {"id": f"r-{n}", "case_id": f"c-{n}"} for n in numbers])
