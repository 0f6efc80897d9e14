"""The JSON model made from encoded bytes: what pydicom makes of them, and never a crash."""

import json
import re
import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_node.dicom_json import bulk_of, metadata_of
from dicom_node.dicom_xml import native_model
from dicom_node.errors import Unreadable
from dicom_node.transcode import transcoded
from dicom_node.uids import DEFLATED_LITTLE
from kernel.errors import EngineError
from tests.dicom_node.samples import a_slice, as_file, real_files

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, about the files themselves


def told(file: bytes) -> dict[str, Any]:
    return metadata_of(BytesIO(file), bulk="bulk")


def plain(value: Any) -> Any:
    """Bring both models to one form where the standard leaves a choice.

    Empty values are null or empty, an empty sequence has no items or no value, and spaces at the
    end of a code mean nothing; private attributes without a VR, group lengths and bulk data are
    left out.
    """
    if isinstance(value, dict):
        kept = {key: plain(each) for key, each in value.items() if not is_apart(key)}
        return {key: each for key, each in kept.items() if each not in ([], [None])}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.strip() or None if isinstance(value, str) else value


def is_apart(key: str) -> bool:
    if key in {"InlineBinary", "BulkDataURI", "00080005"}:
        return True
    if re.fullmatch("[0-9A-F]{8}", key) is None:
        return False
    return key.endswith("0000") or int(key[:4], 16) % 2 == 1


def files() -> list[Any]:
    return [pytest.param(path, id=path.name) for path in real_files()]


@pytest.mark.shared
@pytest.mark.parametrize("path", files())
def test_real_files_become_what_pydicom_makes_of_them(path: Path) -> None:
    data = path.read_bytes()
    try:
        expected = dcmread(BytesIO(data), stop_before_pixels=True).to_json_dict()
    except Exception as error:  # noqa: BLE001 - what the peer cannot read is not compared
        pytest.skip(f"pydicom: {type(error).__name__}")
    try:
        found = told(data)
    except EngineError as refusal:  # ours may refuse by name, but in no other way
        pytest.skip(refusal.sentence)

    json.dumps(found, allow_nan=False)
    native_model(found)
    for tag in ("7FE00008", "7FE00009", "7FE00010"):
        found.pop(tag, None)
    assert plain(found) == plain(expected)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DEFLATED_LITTLE])
def test_the_encoding_makes_no_difference(syntax: str) -> None:
    data_set = a_slice()
    inner = Dataset()
    inner.ReferencedSOPClassUID, inner.ReferencedFrameNumber = "1.2.3", [1, 2]
    data_set.ReferencedImageSequence = [inner, inner]
    data_set.SmallestImagePixelValue = 5
    data_set.EventElapsedTimes = [1.5, -2]
    data_set.TagAngleSecondAxis = -7
    data_set.SimpleFrameList = [1, 70_000]

    expected = told(as_file(data_set))
    if syntax == ExplicitVRBigEndian:
        file = dcmread(BytesIO(as_file(data_set)))
        list(file.iterall())  # no element is written as the bytes that it was read from
        pixels = file.PixelData
        file.PixelData = b"".join(pixels[at : at + 2][::-1] for at in range(0, len(pixels), 2))
        file.file_meta.TransferSyntaxUID = syntax
        out = BytesIO()
        dcmwrite(out, file, implicit_vr=False, little_endian=False, force_encoding=True)
        assert bulk_of(out.getvalue(), "7FE00010") == data_set.PixelData
        little = dcmread(BytesIO(transcoded(out.getvalue(), "1.2.840.10008.1.2.1")))
        assert little.PixelData == data_set.PixelData
        assert told(out.getvalue()) == expected
    else:
        assert told(as_file(data_set, syntax)) == expected


def test_long_values_stand_as_addresses_that_name_where_they_are() -> None:
    data_set, item = a_slice(), Dataset()
    item.RedPaletteColorLookupTableData = bytes(range(256)) * 8
    item.BluePaletteColorLookupTableData = b"\1\2"
    data_set.IconImageSequence = [Dataset(), item]
    file = as_file(data_set)

    second = told(file)["00880200"]["Value"][1]

    assert second["00281201"] == {"vr": "OW", "BulkDataURI": "bulk/00880200/2/00281201"}
    assert second["00281203"]["InlineBinary"] == "AQI="
    assert bulk_of(file, "00880200/2/00281201") == bytes(range(256)) * 8
    assert bulk_of(file, "7FE00010") == data_set.PixelData
    for path in ("00880200/1/00281201", "00280010", "x"):
        with pytest.raises(KeyError):
            bulk_of(file, path)


def test_numbers_that_are_none_are_given_as_they_are_written() -> None:
    data_set = a_slice()
    data_set.add_new(0x00200013, "UI", "1A\\" + "9" * 400)  # UI, for its length is not looked at
    data_set.add_new(0x00181050, "LO", "0.5\\\\nan\\1e3")
    file = as_file(data_set).replace(b"\x20\x00\x13\x00UI", b"\x20\x00\x13\x00IS")
    file = file.replace(b"\x18\x00\x50\x10LO", b"\x18\x00\x50\x10DS")

    found = told(file)

    assert found["00200013"]["Value"] == ["1A", "9" * 400]
    assert found["00181050"]["Value"] == [0.5, None, "nan", 1000.0]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("tag", "read"),
    [
        (0x00102160, {"vr": "SH", "Value": ["Kazakh"]}),
        (0x60000022, {"vr": "UN", "InlineBinary": "S2F6YWto"}),  # an overlay: a repeating group
        (0x00091001, {"vr": "UN", "InlineBinary": "S2F6YWto"}),
    ],
)
def test_what_is_told_as_unknown_is_read_if_the_standard_names_this_very_tag(
    tag: int, read: dict[str, Any]
) -> None:
    data_set = a_slice()
    data_set.add_new(tag, "LO", "Kazakh")
    named = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    file = as_file(data_set).replace(named + b"LO\6\0", named + b"UN\0\0\6\0\0\0")

    assert told(file)[f"{tag:08X}"] == read


def test_names_in_other_alphabets_come_out_in_utf_8() -> None:
    data_set = a_slice()
    data_set.SpecificCharacterSet = "ISO_IR 144"
    data_set.PatientName = "Иванов^Иван"

    found = told(as_file(data_set))

    assert found["00100010"]["Value"] == [{"Alphabetic": "Иванов^Иван"}]
    assert found["00080005"]["Value"] == ["ISO_IR 192"]


def test_sequences_without_end_in_each_other_are_refused() -> None:
    head = as_file(a_slice())
    start = head.index(b"\x08\x00\x05\x00CS")
    nested = (
        b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    ) * 20_000

    with pytest.raises(Unreadable):
        told(head[:start] + nested)


@settings(deadline=None, max_examples=150)
@given(st.integers(132, 2000), st.binary(min_size=1, max_size=12), st.booleans())
def test_damaged_bytes_are_read_or_refused(at: int, noise: bytes, cut: bool) -> None:
    file = as_file(a_slice())
    at = min(at, len(file) - 1)
    damaged = file[:at] if cut else file[:at] + noise + file[at + len(noise) :]

    with suppress(Unreadable):
        json.dumps(told(damaged), allow_nan=False)
    with suppress(Unreadable, KeyError):
        bulk_of(damaged, "7FE00010")
