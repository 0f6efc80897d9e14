"""The corpus of odd files, sent by C-STORE: what its index says must happen, happens."""

import pytest

from dicom_node.admission import Announced
from dicom_node.part10 import split
from dicom_node.registry import STORAGE_CLASSES
from tests.wire.conftest import Node
from tests.wire.odd import ODD, ROWS, OddFile, as_sent

pytestmark = pytest.mark.skipif(not ROWS, reason="the odd files are not here")


@pytest.mark.shared
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_an_odd_file_is_accepted_or_refused_as_it_must_be(own_node: Node, row: OddFile) -> None:
    node = own_node  # several of them are one instance
    sent = as_sent(row.data)
    if sent is None:
        assert row.expect in ("reject", "either")  # nothing that a C-STORE could announce
        return
    announced = sent.announced
    kept = len(node.quarantined())

    with node.speak() as speaker:
        speaker.associate((announced.sop_class_uid, announced.transfer_syntax_uid))
        if speaker.results[1][0]:
            assert announced.sop_class_uid not in STORAGE_CLASSES
            assert row.expect != "accept"
            return
        status = speaker.store(announced, sent.data_set)

    if row.expect != "either":
        assert (status == 0) == (row.expect == "accept"), f"{status:04X}"
    if status:
        assert len(node.quarantined()) == kept + 1  # nothing is lost
    else:
        back = node.archive.read(announced.sop_instance_uid)
        assert back.endswith(sent.data_set)
        assert not any(back[:128])  # no preamble that is also a program
    assert node.answers()


@pytest.mark.shared
def test_the_first_of_two_with_one_uid_stays_and_the_second_is_kept_aside(node: Node) -> None:
    first, second = (
        (ODD / f"made_012_dup_sop_other_pixels_{which}.dcm").read_bytes() for which in "ab"
    )
    part = split(first)
    announced = Announced(part.sop_class_uid, part.sop_instance_uid, part.transfer_syntax_uid)
    with node.speak() as speaker:
        speaker.associate((announced.sop_class_uid, announced.transfer_syntax_uid))
        assert speaker.store(announced, first[part.data_set_offset :]) == 0
        assert speaker.store(announced, second[split(second).data_set_offset :]) == 0xC111
    back = node.archive.read(announced.sop_instance_uid)
    assert back.endswith(first[part.data_set_offset :])
    assert "archive.uid_conflict" in {kept.code for kept in node.quarantined()}
