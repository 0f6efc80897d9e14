"""The upkeep of a node: packing makes way for instances that arrive, within a bound."""

from sqlalchemy import select

from app.upkeep import Upkeep
from storage import archive, audit
from storage.courtesy import ASIDE_S, Courtesy
from storage.packs import Packer
from storage.tables.archive import ARRIVALS, INSTANCES
from storage.unpacked import LONG, Unpacked, waiting
from tests.app.clinic import Clinic


def test_a_study_is_packed_once_no_instances_arrive_or_the_bound_is_reached(
    clinic: Clinic,
) -> None:
    now, busy = [100.0], [True]
    courtesy = Courtesy(lambda: busy[0], clock=lambda: now[0])
    upkeep = Upkeep(clinic.parts.packer, clinic.parts, courtesy)

    clinic.send()
    clinic.settle()
    assert upkeep.turn() == 0
    now[0] += ASIDE_S
    assert upkeep.turn() == 1

    clinic.send("A-2", "P-2")
    clinic.settle()
    now[0] += ASIDE_S
    assert upkeep.turn() == 0
    busy[0] = False
    assert upkeep.turn() == 1
    assert upkeep.turn() == 0


def test_a_study_that_cannot_be_packed_keeps_no_other_from_its_pack(clinic: Clinic) -> None:
    upkeep = Upkeep(clinic.parts.packer, clinic.parts, Courtesy(lambda: False))
    studies = [f"A-{number}" for number in (1, 2)]
    for number, accession in enumerate(studies, start=1):
        clinic.send(accession, f"P-{number}")
    clinic.settle()
    for damaged in sorted(_in_journal(clinic))[:1]:
        _damage(clinic, damaged)
    upkeep.turn()
    upkeep.turn()
    assert len(_in_journal(clinic)) == 1
    clinic.send("A-3", "P-3")
    clinic.settle()
    upkeep.turn()
    assert _in_journal(clinic) == {damaged}


def test_a_study_that_cannot_be_packed_is_told_of_until_it_is(clinic: Clinic) -> None:
    clinic.send()
    clinic.settle()
    (damaged,) = _in_journal(clinic)
    healthy = _stored(clinic, damaged)
    _damage(clinic, damaged)
    Upkeep(clinic.parts.packer, clinic.parts, Courtesy(lambda: False)).turn()
    clinic.clock.now += 2 * LONG

    found, told = _waiting(clinic), clinic.program("dicomweb:read").get("/health").json()
    assert (found.studies, found.codes) == (1, (("storage.place_lost", 1),))
    (check,) = [each for each in told["checks"] if each["name"] == "packing"]
    assert not check["ok"]
    assert "1 settled studies wait" in check["sentence"]
    assert "1 for storage.place_lost" in check["sentence"]
    assert told["ready"]
    with clinic.parts.database.reading() as tx:
        assert [e.action for e in audit.latest(tx) if e.action.startswith("storage.")] == [
            "storage.damaged"
        ]

    _overwrite(clinic, *healthy)  # from the backup
    # Another process, as after a restart.
    assert Upkeep(clinic.parts.packer, clinic.parts, Courtesy(lambda: False)).turn() == 1
    assert _waiting(clinic) == Unpacked(0, None, ())


class Puzzled(Packer):
    """A packer that meets what nobody foresaw."""

    def pack(self, study_uid: str) -> None:
        raise ZeroDivisionError


def test_what_nobody_foresaw_is_told_by_its_kind(clinic: Clinic) -> None:
    clinic.send()
    clinic.settle()
    parts = clinic.parts
    packer = Puzzled(parts.database, parts.journal, parts.objects, scratch=clinic.directory / "s")
    Upkeep(packer, parts, Courtesy(lambda: False)).turn()

    assert _waiting(clinic).codes == (("upkeep.unforeseen.ZeroDivisionError", 1),)


def _waiting(clinic: Clinic) -> Unpacked:
    with clinic.parts.database.reading() as tx:
        return waiting(tx)


def test_quarantined_bytes_that_are_lost_keep_no_others_from_being_moved(clinic: Clinic) -> None:
    upkeep = Upkeep(clinic.parts.packer, clinic.parts, Courtesy(lambda: False))
    for number in range(3):
        _quarantined(clinic, f"odd {number}".encode())
    with clinic.parts.database.reading() as tx:
        first = min(archive.quarantined(tx), key=lambda each: each.offset)
    _overwrite(clinic, first.segment, first.offset)
    upkeep.turn()
    upkeep.turn()
    with clinic.parts.database.reading() as tx:
        moved = tx.execute(select(ARRIVALS.c.offset).where(ARRIVALS.c.object_key.is_not(None)))
        offsets = set(moved.scalars())
    assert len(offsets) == 2
    assert first.offset not in offsets


def _in_journal(clinic: Clinic) -> set[str]:
    with clinic.parts.database.reading() as tx:
        lying = select(INSTANCES.c.instance_uid).where(INSTANCES.c.segment.is_not(None))
        return set(tx.execute(lying).scalars())


def _damage(clinic: Clinic, instance_uid: str) -> None:
    with clinic.parts.database.reading() as tx:
        lies = select(INSTANCES.c.segment, INSTANCES.c.offset).where(
            INSTANCES.c.instance_uid == instance_uid
        )
        row = tx.execute(lies).one()
    _overwrite(clinic, row.segment, row.offset)


def _stored(clinic: Clinic, instance_uid: str) -> tuple[str, int, bytes]:
    """Return where an instance lies, and how it begins."""
    with clinic.parts.database.reading() as tx:
        lies = select(INSTANCES.c.segment, INSTANCES.c.offset)
        row = tx.execute(lies.where(INSTANCES.c.instance_uid == instance_uid)).one()
    return row.segment, row.offset, clinic.parts.archive.read(instance_uid)[:2]


def _overwrite(clinic: Clinic, segment: str, offset: int, told: bytes = b"\xff\xfe") -> None:
    with (clinic.parts.journal.directory / segment).open("r+b") as file:
        file.seek(offset)
        file.write(told)


def _quarantined(clinic: Clinic, body: bytes) -> None:
    place = clinic.parts.journal.append({}, body)
    with clinic.parts.database.transaction() as tx:
        archive.quarantine(
            tx, place, source="VAN1", code="t", reason="odd", received_at=clinic.clock()
        )
