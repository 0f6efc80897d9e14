"""Data sets of messages: what pydicom writes is read, what is written pydicom reads."""

import struct
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom.dsutils import decode, encode

from dicom_node import data_sets
from dicom_node.data_sets import MAX_PARTS, attribute, sequence
from dicom_node.errors import DataSetUnreadable
from dicom_node.uids import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

SYNTAXES = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)


def written(data_set: Dataset, syntax: str) -> bytes:
    encoded = encode(data_set, syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG)
    assert encoded is not None
    return encoded


def an_identifier(*, undefined: bool = False) -> Dataset:
    data_set, item = Dataset(), Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 144"
    data_set.PatientName = "Иванов^Иван"
    data_set.StudyInstanceUID = ["1.2", "1.3"]
    data_set.Rows = 512
    data_set.StudyDescription = ""
    item.Modality = "CT"
    item.ScheduledPerformingPhysicianName = "Петров"
    item.is_undefined_length_sequence_item = undefined
    data_set.ScheduledProcedureStepSequence = [item]
    data_set["ScheduledProcedureStepSequence"].is_undefined_length = undefined
    return data_set


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_what_pydicom_writes_is_read(syntax: str, undefined: bool) -> None:
    found = data_sets.decode(written(an_identifier(undefined=undefined), syntax), syntax)

    assert found.value("PatientName") == "Иванов^Иван"
    assert found.values("StudyInstanceUID") == ("1.2", "1.3")
    assert found.values("Rows") == ("512",)
    assert found.values("StudyDescription") == ()
    (item,) = found.items("ScheduledProcedureStepSequence")
    assert item.value("Modality") == "CT"
    assert item.value("ScheduledPerformingPhysicianName") == "Петров"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_written_pydicom_reads(syntax: str) -> None:
    told = [
        attribute("SpecificCharacterSet", "ISO_IR 192"),
        attribute("PatientName", "Ахметова^Айгүл"),
        attribute("Rows", "512"),
        sequence("FailedSOPSequence", [attribute("FailureReason", "274")], []),
    ]

    data = data_sets.encode(told, syntax)
    found = read_dataset(BytesIO(data), syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG)

    assert str(found.PatientName) == "Ахметова^Айгүл"
    assert found.Rows == 512
    assert found.FailedSOPSequence[0].FailureReason == 0x0112
    assert len(found.FailedSOPSequence) == 2


def test_the_character_set_of_the_device_is_used_where_none_is_named() -> None:
    data = b"\x10\x00\x10\x00\x06\x00\x00\x00" + "Иванов".encode("cp1251")

    found = data_sets.decode(data, IMPLICIT_LITTLE, default_character_set="CP1251")

    assert found.value("PatientName") == "Иванов"


@given(data=st.binary(max_size=200), syntax=st.sampled_from(SYNTAXES))
def test_any_bytes_are_read_or_refused(data: bytes, syntax: str) -> None:
    with suppress(DataSetUnreadable):
        data_sets.decode(data, syntax)


@given(data=st.data(), syntax=st.sampled_from(SYNTAXES), undefined=st.booleans())
def test_a_data_set_that_is_damaged_is_read_or_refused(
    data: st.DataObject, syntax: str, undefined: bool
) -> None:
    whole = bytearray(written(an_identifier(undefined=undefined), syntax))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with suppress(DataSetUnreadable):
        data_sets.decode(bytes(whole[:cut]), syntax)


def test_sequences_without_end_in_each_other_are_refused() -> None:
    deep = b"\x08\x00\x15\x11\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000

    with pytest.raises(DataSetUnreadable):
        data_sets.decode(deep, IMPLICIT_LITTLE)


@pytest.mark.parametrize(
    "data",
    [
        b"\x11\x00\x10\x00\0\0\0\0" * MAX_PARTS,
        b"\x40\x00\x00\x01\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * MAX_PARTS,
        b"\x20\x00\x0d\x00" + struct.pack("<I", 2 * MAX_PARTS) + b"1\\" * MAX_PARTS,
        b"\x40\x00\x73\xdb" + struct.pack("<I", 4 * MAX_PARTS + 4) + bytes(4 * MAX_PARTS + 4),
        b"\x20\x00\x65\x91" + struct.pack("<I", 4 * MAX_PARTS + 4) + bytes(4 * MAX_PARTS + 4),
    ],
    ids=["attributes", "items", "values", "numbers", "tags"],
)
def test_a_message_of_more_parts_than_any_needs_is_refused(data: bytes) -> None:
    data += b"\x11\x00\x11\x00\0\0\0\0"

    with pytest.raises(DataSetUnreadable, match="more attributes"):
        data_sets.decode(data, IMPLICIT_LITTLE)


def test_a_message_that_names_twenty_thousand_instances_is_read() -> None:
    told = [attribute("ReferencedSOPInstanceUID", "1.2.3"), attribute("FailureReason", "274")]
    data = data_sets.encode([sequence("FailedSOPSequence", *[told] * 20_000)], EXPLICIT_LITTLE)

    assert len(data_sets.decode(data, EXPLICIT_LITTLE).items("FailedSOPSequence")) == 20_000


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_binary_numbers_are_read_and_written_as_pydicom_does(syntax: str) -> None:
    given = Dataset()
    given.DistanceSourceToDetector = "1093.5"  # DS, text
    given.ReferencedContentItemIdentifier = [1, 70_000]  # UL
    given.CTDIvol = 12.625  # FD

    found = data_sets.decode(written(given, syntax), syntax)
    again = data_sets.decode(data_sets.encode(list(found.by_tag.values()), syntax), syntax)

    assert found.values("ReferencedContentItemIdentifier") == ("1", "70000")
    assert found.values("CTDIvol") == ("12.625",)
    assert again == found


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_no_text_is_told_as_it_came(syntax: str) -> None:
    data_set, item = Dataset(), Dataset()
    item.add_new(0x00091001, "UN", bytes(range(256)))
    block = data_set.private_block(0x0009, "ACME", create=True)
    for offset, (vr, value) in enumerate(
        (("OB", bytes(range(200, 256))), ("UN", b"\0\xff"), ("OW", b"\1\0"), ("SQ", [item])), 1
    ):
        block.add_new(offset, vr, value)
    data_set.FrameIncrementPointer = 0x00181063
    sent = written(data_set, syntax)

    assert data_sets.encode(list(data_sets.decode(sent, syntax).by_tag.values()), syntax) == sent


def test_what_is_told_as_unknown_is_read_by_the_dictionary() -> None:
    told = [
        (0x0008, 0x0005, b"CS", struct.pack("<H", 10), b"ISO_IR 192"),
        (0x0008, 0x0020, b"UN", struct.pack("<2xI", 18), b"20260101-20260131 "),
        (0x0010, 0x0010, b"UN", struct.pack("<2xI", 14), "Müller^Jörg ".encode()),
    ]
    data = b"".join(struct.pack("<HH", *tag) + vr + rest + text for *tag, vr, rest, text in told)

    found = data_sets.decode(data, EXPLICIT_LITTLE)

    assert [(each.vr, each.values) for each in found.by_tag.values()] == [
        ("CS", ("ISO_IR 192",)),
        ("DA", ("20260101-20260131",)),
        ("PN", ("Müller^Jörg",)),
    ]


def test_what_was_kept_as_text_is_told_as_before() -> None:
    before = data_sets.Attribute(0x00091001, "UN", ("some text",))

    assert data_sets.encode([before], EXPLICIT_LITTLE).endswith(b"some text ")


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_a_list_that_is_too_long_for_its_vr_is_told_whole(syntax: str) -> None:
    uids = [f"1.2.826.0.1.3680043.8.498.{10**30 + at}" for at in range(3000)]

    sent = data_sets.encode([attribute("FailedSOPInstanceUIDList", *uids)], syntax)

    found = decode(BytesIO(sent), syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG)
    told = found["FailedSOPInstanceUIDList"]
    whole = told.value.decode().rstrip("\0").split("\\") if told.VR == "UN" else list(told.value)
    assert whole == uids
    read = data_sets.decode(sent, syntax).values("FailedSOPInstanceUIDList")
    assert list(read) == uids
