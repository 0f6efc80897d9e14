"""The order of instances: by number where there is one, whatever a sender wrote in its place."""

import pytest

from storage import archive, archive_queries, series_queries
from storage.engine import Database
from storage.journal import Place
from tests.storage.test_archive import new_instance

ODD = ("--5", "+-1", "²", "٣", "1_0", "1e3", " 7 ", "")


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_number_stands_where_none_is(database: Database, odd: str) -> None:
    numbers = {"1.2.3.1.1": "2", "1.2.3.1.2": odd, "1.2.3.1.3": "-1"}
    with database.transaction() as tx:
        for at, (uid, number) in enumerate(numbers.items()):
            row = new_instance(tx, uid, "1.2.3")._replace(instance_number=number, series_number=odd)
            archive.admit(tx, row, Place("n1-1", 4096 * at, 1, f"{at}" * 64))
    with database.reading() as tx:
        told = [each.instance_uid for each in series_queries.held(tx, "1.2.3")]
        (series,) = archive_queries.series_of(tx, "1.2.3")
    assert told == [each.instance_uid for each in series.instances]
    first = ["1.2.3.1.3", "1.2.3.1.2", "1.2.3.1.1"]
    assert told == (first if odd.strip() != "7" else ["1.2.3.1.3", "1.2.3.1.1", "1.2.3.1.2"])
