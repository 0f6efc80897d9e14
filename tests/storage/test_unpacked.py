"""What settled and is not packed is told with the nodes whose journals alone hold it."""

from pathlib import Path

from sqlalchemy import update

from storage.engine import Database
from storage.tables.archive import INSTANCES
from storage.unpacked import waiting
from tests.storage.test_archive import Room


def test_what_waits_for_long_is_told_with_the_nodes_that_hold_it(
    each_database: Database, tmp_path: Path
) -> None:
    room = Room(each_database, tmp_path, node="n1")
    for study in ("1.2.3", "1.2.4", "1.2.5"):
        room.receive(f"{study}.1.1", study.encode(), study=study)
        room.freeze(study)
    room.packer.pack("1.2.5")
    of_study = INSTANCES.c.study_uid == "1.2.4"
    with each_database.transaction() as tx:
        tx.execute(update(INSTANCES).where(of_study).values(segment="n2-0.seg"))

    with each_database.reading() as tx:
        found = waiting(tx)
    assert (found.studies, found.nodes) == (2, ("n1", "n2"))
    assert "in the journals of n1, n2" in found.sentence


def test_where_nothing_waits_no_node_is_named(each_database: Database) -> None:
    with each_database.reading() as tx:
        found = waiting(tx)
    assert (found.studies, found.nodes) == (0, ())
    assert found.sentence == "no settled study waits for its pack for long"
