"""Headers agree with pydicom on real files, and hostile bytes are refused, never believed."""

import struct
import warnings
import zlib
from datetime import date

import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_node.elements import HeadTooShort
from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.headers import UNIDENTIFIED, Defaults, InstanceHeader, read, read_file
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.dicom_node.samples import DEFAULTS, a_slice, as_file, as_sent, real_files

ENCODINGS = [EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE]
ALIKE = {
    "instance_uid": "SOPInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "study_uid": "StudyInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "modality": "Modality",
    "accession": "AccessionNumber",
    "study_description": "StudyDescription",
    "sex": "PatientSex",
    "body_part": "BodyPartExamined",
    "rows": "Rows",
    "columns": "Columns",
}
BOUNDS = {"modality": 16, "sex": 16, "body_part": 16, "study_description": 64}


def header_of(data_set: Dataset, transfer_syntax: str = EXPLICIT_LITTLE) -> InstanceHeader:
    return read_file(as_file(data_set, transfer_syntax), DEFAULTS)[0]


def test_headers_of_real_files_are_what_pydicom_reads() -> None:
    compared = 0
    for path in real_files():
        try:
            header, _ = read_file(path.read_bytes(), DEFAULTS)
        except Unreadable:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = pydicom.dcmread(path, stop_before_pixels=True)
            for name, keyword in ALIKE.items():
                expected = data_set.get(keyword)
                found = getattr(header, name)
                if isinstance(found, str):
                    expected = "" if expected is None else str(expected).strip()
                    expected = expected[: BOUNDS.get(name)]
                assert found == expected, (path.name, keyword)
            told = str(data_set.get("PatientName", "")).rstrip("=^ ")
        assert header.patient_name == told.strip(), path.name
        compared += 1
    assert compared > 60


@pytest.mark.parametrize("transfer_syntax", ENCODINGS)
def test_every_encoding_gives_the_same_header(transfer_syntax: str) -> None:
    header = header_of(a_slice(7), transfer_syntax)

    assert header.patient_name == "Ахметова^Айгүл"
    assert (header.rows, header.columns, header.instance_number) == (16, 16, "7")
    assert header.birth_date == date(1970, 4, 3)
    assert header.transfer_syntax_uid == transfer_syntax


@pytest.mark.parametrize("transfer_syntax", ENCODINGS)
def test_sequences_of_undefined_length_are_stepped_over(transfer_syntax: str) -> None:
    data_set = a_slice()
    inner, item = Dataset(), Dataset()
    inner.CodeValue, inner.PatientID = "1", "NOT-THIS-ONE"
    item.ConceptCodeSequence = Sequence([inner])
    data_set.ProcedureCodeSequence = Sequence([item, Dataset()])
    data_set["ProcedureCodeSequence"].is_undefined_length = True
    item["ConceptCodeSequence"].is_undefined_length = True

    assert header_of(data_set, transfer_syntax).patient_id == "P1"


def test_a_data_set_nested_20000_deep_is_walked_without_recursion() -> None:
    announced, plain = as_sent(as_file(a_slice()))
    deep = b"".join(
        struct.pack("<HH2sHI", 0x0008, 0x1032, b"SQ", 0, 0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(20_000)
    )
    ends = (
        struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    ) * 20_000

    header = read(deep + ends + plain, announced.transfer_syntax_uid, DEFAULTS)

    assert header.instance_uid == announced.sop_instance_uid
    with pytest.raises(Unreadable) as refusal:
        read(deep + plain, announced.transfer_syntax_uid, DEFAULTS)
    assert refusal.value.reason is UnreadableReason.CUT_SHORT


def test_padded_uids_are_the_same_uid() -> None:
    announced, plain = as_sent(as_file(a_slice()))
    uid = announced.sop_instance_uid.encode()
    padded = plain.replace(uid + b"\0" * (len(uid) % 2), uid + b" " * (len(uid) % 2))

    assert read(padded, EXPLICIT_LITTLE, DEFAULTS).instance_uid == announced.sop_instance_uid


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("StudyInstanceUID", None, UnreadableReason.UID_MISSING),
        ("SOPInstanceUID", "", UnreadableReason.UID_MISSING),
        ("SeriesInstanceUID", "", UnreadableReason.UID_MISSING),
    ],
)
def test_an_instance_without_its_uids_is_refused(
    keyword: str, value: str | None, reason: UnreadableReason
) -> None:
    data_set = a_slice()
    if value is None:
        del data_set[keyword]
    else:
        setattr(data_set, keyword, value)

    with pytest.raises(Unreadable) as refusal:
        header_of(data_set)

    assert refusal.value.reason is reason


@pytest.mark.parametrize("uid", [b"../../etc/passwd", b"1.2\x003.4", b"1..2", b"9" * 65, b"1.2.x"])
def test_what_is_no_uid_never_becomes_a_key(uid: bytes) -> None:
    announced, plain = as_sent(as_file(a_slice()))
    told = announced.sop_instance_uid.encode()
    old = struct.pack("<HH2sH", 8, 0x18, b"UI", len(told) + len(told) % 2) + told
    old += b"\0" * (len(told) % 2)
    assert old in plain
    new = struct.pack("<HH2sH", 8, 0x18, b"UI", len(uid)) + uid

    with pytest.raises(Unreadable) as refusal:
        read(plain.replace(old, new), EXPLICIT_LITTLE, DEFAULTS)

    assert refusal.value.reason is UnreadableReason.UID_INVALID


def test_two_patients_without_an_id_are_not_one() -> None:
    one, other = a_slice(study=1), a_slice(study=2)
    one.PatientID = other.PatientID = "  "
    first, second = header_of(one), header_of(other)

    assert (first.issuer, first.patient_id) == (UNIDENTIFIED, first.study_uid)
    assert first.patient_id != second.patient_id


def test_the_issuer_of_the_device_stands_in_only_where_none_is_named() -> None:
    named = a_slice()
    named.IssuerOfPatientID = "national"

    assert header_of(named).issuer == "national"
    assert header_of(a_slice()).issuer == DEFAULTS.issuer


def test_long_identifiers_stay_different_when_they_are_bounded() -> None:
    found = []
    for last in "ab":
        data_set = a_slice()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set.PatientID = "x" * 100 + last
        found.append(header_of(data_set).patient_id)

    assert found[0] != found[1]
    assert max(map(len, found)) <= 64


def test_an_undeclared_character_set_is_the_devices_own() -> None:
    _, plain = as_sent(as_file(a_slice()))
    name = "Ахметова^Айгүл".encode()
    replaced = "Иванов^Иван".encode("cp1251")
    replaced += b" " * (len(name) - len(replaced))
    undeclared = plain.replace(b"ISO_IR 192", b"          ").replace(name, replaced)

    header = read(undeclared, EXPLICIT_LITTLE, Defaults("i", "CP1251"))

    assert header.patient_name == "Иванов^Иван"
    assert not header.character_set_defined


def test_what_a_series_has_in_common_is_never_taken_from_another() -> None:
    first, other = a_slice(number=1), a_slice(number=2)
    for each, name in ((first, "A"), (other, "B")):
        each.SeriesDescription = name
    other.Rows, other.NumberOfFrames = 7, 3
    headers = [header_of(each) for each in (first, other, first)]
    assert headers[0] == headers[2]
    assert [header.series_description for header in headers] == ["A", "B", "A"]
    assert (headers[1].rows, headers[1].frames, headers[1].instance_number) == (7, 3, "2")
    assert headers[0].instance_uid != headers[1].instance_uid


def test_the_same_series_by_two_devices_has_the_issuer_of_each() -> None:
    _, data = as_sent(as_file(a_slice()))
    issuers = [read(data, EXPLICIT_LITTLE, Defaults(issuer)).issuer for issuer in ("ONE", "TWO")]
    assert issuers == ["ONE", "TWO"]


def test_text_has_no_control_characters() -> None:
    _, plain = as_sent(as_file(a_slice()))
    header = read(plain.replace(b"CT CHEST", b"CT\r\nX\x00Y\x1b"), EXPLICIT_LITTLE, DEFAULTS)

    assert header.study_description.isprintable()


@pytest.mark.parametrize("transfer_syntax", ENCODINGS[:3])
def test_the_beginning_of_a_data_set_is_enough_or_asks_for_more(transfer_syntax: str) -> None:
    _, plain = as_sent(as_file(a_slice(), transfer_syntax))
    whole = read(plain, transfer_syntax, DEFAULTS)

    for length in range(0, len(plain), 7):
        try:
            assert read(plain[:length], transfer_syntax, DEFAULTS, total=len(plain)) == whole
        except HeadTooShort:
            assert length < len(plain) - 256


@pytest.mark.parametrize("transfer_syntax", ENCODINGS)
def test_a_data_set_cut_at_any_byte_is_refused(transfer_syntax: str) -> None:
    _, plain = as_sent(as_file(a_slice(), transfer_syntax))
    whole = read(plain, transfer_syntax, DEFAULTS)
    step = 1 if transfer_syntax != DEFLATED_LITTLE else 5

    for length in range(0, len(plain) - 1, step):
        try:
            header = read(plain[:length], transfer_syntax, DEFAULTS)
        except Unreadable:
            continue
        # Cut exactly between two elements behind the UIDs: nothing in the bytes shows it.
        assert (header.instance_uid, header.study_uid) == (whole.instance_uid, whole.study_uid)


def test_a_deflate_bomb_is_inflated_no_further_than_its_header() -> None:
    _, plain = as_sent(as_file(a_slice()))
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = bomb.compress(plain[:-524])  # all but the pixel data element
    data += bomb.compress(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 200 << 20))
    for _ in range(200):
        data += bomb.compress(bytes(1 << 20))
    data += bomb.flush()

    assert read(data, DEFLATED_LITTLE, DEFAULTS).rows == 16


@pytest.mark.parametrize("transfer_syntax", ENCODINGS)
@given(data=st.binary(max_size=400))
@example(data=b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20)
@example(data=b"\x08\x00\x05\x00UN\x00\x00\xff\xff\xff\xff" * 9)
def test_any_bytes_are_a_header_or_unreadable(transfer_syntax: str, data: bytes) -> None:
    with pytest.raises(Unreadable):
        read(data, transfer_syntax, DEFAULTS)


@settings(max_examples=300)
@given(data=st.data(), transfer_syntax=st.sampled_from(ENCODINGS))
def test_a_damaged_data_set_is_a_header_or_unreadable(
    data: st.DataObject, transfer_syntax: str
) -> None:
    _, plain = as_sent(as_file(a_slice(), transfer_syntax))
    damaged = bytearray(plain)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    total = data.draw(st.sampled_from([None, len(damaged) * 2]))

    try:
        header = read(damaged, transfer_syntax, DEFAULTS, total=total)
    except (Unreadable, HeadTooShort):
        return

    assert len(header.patient_name) <= 400
    assert len(header.patient_id) <= 64
    assert "\0" not in "".join(str(getattr(header, name)) for name in header.__slots__)


@given(data=st.binary(max_size=600))
def test_any_file_is_read_or_unreadable(data: bytes) -> None:
    for file in (data, bytes(128) + b"DICM" + data):
        with pytest.raises(Unreadable):
            read_file(file, DEFAULTS)
