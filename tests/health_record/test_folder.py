"""The folder adapter: whole or not at all, durable before the receipt, clear when full."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from health_record.adapters.folder import BUNDLE, LOCK, REPORT, SEAL, FolderRecord
from health_record.errors import FolderFull, FolderUnwritable, SealUnusable
from health_record.port import Form, OutgoingDocument, Receipt, Rejected
from kernel.errors import Corrupt
from tests.health_record.samples import PDF, an_outgoing


def a_document(number: int = 1, *, pdf: bytes = PDF) -> OutgoingDocument:
    return an_outgoing(Form.DOCUMENT, number, pdf=pdf)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small disk that this test fills")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_the_folder_holds_the_exact_bundle_the_pdf_and_the_seal(tmp_path: Path):
    document = a_document()
    receipt = FolderRecord(tmp_path, lambda content: b"sealed:" + content[:1]).submit(document)

    assert isinstance(receipt, Receipt)
    place = tmp_path / receipt.reference
    assert {path.name for path in place.iterdir()} == {BUNDLE, SEAL, REPORT}
    assert (place / BUNDLE).read_bytes() == document.body
    assert (place / REPORT).read_bytes() == PDF
    assert (place / SEAL).read_bytes() == b"sealed:{"
    assert json.loads(document.body)["type"] == "document"


def test_names_are_ids_and_never_text_of_a_sender(tmp_path: Path):
    document = a_document()
    FolderRecord(tmp_path).submit(document)
    names = {part for path in tmp_path.rglob("*") for part in path.relative_to(tmp_path).parts}

    assert names == {
        LOCK,
        document.case_id,
        f"{document.report_id}-v1",
        BUNDLE,
        REPORT,
    }


def test_an_id_that_could_leave_the_folder_is_an_alarm(tmp_path: Path):
    document = a_document()
    escaping = OutgoingDocument(
        **{name: getattr(document, name) for name in document.__slots__} | {"case_id": "../../etc"}
    )
    with pytest.raises(Corrupt):
        FolderRecord(tmp_path / "record").submit(escaping)

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_attempt_left_is_swept_and_the_document_arrives_whole(tmp_path: Path):
    document = a_document()
    left_over = tmp_path / ".arriving" / f"{document.delivery_id}-killed"
    left_over.mkdir(parents=True)
    (left_over / BUNDLE).write_bytes(document.body[:10])

    receipt = FolderRecord(tmp_path).submit(document)

    assert isinstance(receipt, Receipt)
    assert (tmp_path / receipt.reference / BUNDLE).read_bytes() == document.body
    assert not (tmp_path / ".arriving").exists()


def test_an_attempt_in_flight_is_left_alone_by_a_second_one(tmp_path: Path):
    document = a_document()
    second: list[Receipt | Rejected] = []
    other = Thread(target=lambda: second.append(FolderRecord(tmp_path).submit(document)))

    def while_the_first_writes(_content: bytes) -> bytes:
        other.start()
        other.join(0.5)  # as far as it comes; it ended the first one before it waited for it
        return b"sealed"

    first = FolderRecord(tmp_path, while_the_first_writes).submit(document)
    other.join()

    assert isinstance(first, Receipt)
    assert second == [first]
    names = {path.name for path in (tmp_path / first.reference).iterdir()}
    assert names == {BUNDLE, SEAL, REPORT}


def test_a_full_disk_is_told_leaves_nothing_half_and_heals(tiny_disk: Path):
    record = FolderRecord(tiny_disk / "record")
    large = PDF + b"0" * 300_000

    with pytest.raises(FolderFull, match="full"):
        record.submit(a_document(1, pdf=large))
    assert [path.name for path in tiny_disk.rglob("*") if path.is_file()] == [LOCK]

    assert isinstance(record.submit(a_document(2)), Receipt)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(FolderUnwritable):
        FolderRecord(tmp_path / "file").submit(a_document())


def test_without_a_usable_seal_nothing_is_filed(tmp_path: Path):
    def expired(_content: bytes) -> bytes:
        raise SealUnusable("the certificate of the organisation's seal is not valid")

    with pytest.raises(SealUnusable):
        FolderRecord(tmp_path, expired).submit(a_document())

    assert list(tmp_path.rglob(BUNDLE)) == []
