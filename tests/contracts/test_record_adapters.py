"""What every kind of health record promises: on the twin, on a folder, on a real FHIR server."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from health_record.adapters.fhir_r4 import FhirR4Record, FhirR4Settings
from health_record.adapters.folder import BUNDLE, REPORT, FolderRecord
from health_record.adapters.memory import MemoryRecord
from health_record.port import OutgoingDocument, Receipt, RecordAdapter, Rejected
from kernel.errors import Transient
from tests.health_record.samples import PDF, an_outgoing
from tests.services.missing import required
from tests.services.sekmet import Sekmet, running_sekmet

# How many copies of the report a record holds, and the PDF that it gives back.
Held = Callable[[int], tuple[int, bytes]]
_numbers = count(1)


@pytest.fixture(scope="module")
def sekmet() -> Iterator[Sekmet]:
    """A running FHIR server."""
    with required(), running_sekmet() as server:
        yield server


@pytest.fixture
def number() -> int:
    """The number of a report that no other test files: the FHIR server is shared."""
    return next(_numbers)


def _memory() -> tuple[RecordAdapter, Held]:
    record = MemoryRecord(production=False)
    return record, lambda _number: (
        len(record.documents),
        next(iter(record.documents.values())).pdf,
    )


def _folder(root: Path) -> tuple[RecordAdapter, Held]:
    def held(_number: int) -> tuple[int, bytes]:
        bundles = list(root.rglob(BUNDLE))
        return len(bundles), (bundles[0].parent / REPORT).read_bytes()

    return FolderRecord(root), held


def _fhir_r4(server: Sekmet) -> tuple[FhirR4Record, Held]:
    record = FhirR4Record(FhirR4Settings(base_url=server.url))

    def held(number: int) -> tuple[int, bytes]:
        named = an_outgoing(record.form, number).report
        reports = server.find("DiagnosticReport", identifier=f"{named.system}|{named.value}")
        binary = server.get(reports[0]["presentedForm"][0]["url"])
        return len(reports), base64.b64decode(binary["data"])

    return record, held


@pytest.fixture(params=["memory", "folder", pytest.param("fhir_r4", marks=pytest.mark.service)])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RecordAdapter, Held]]:
    """An adapter, and how to look into the record behind it."""
    match request.param:
        case "memory":
            yield _memory()
        case "folder":
            yield _folder(tmp_path / "record")
        case _:
            adapter, held = _fhir_r4(request.getfixturevalue("sekmet"))
            with closing(adapter):
                yield adapter, held


def _submitted(adapter: RecordAdapter, document: OutgoingDocument) -> Receipt | Rejected | None:
    try:
        return adapter.submit(document)
    except Transient:
        return None


def test_a_document_is_there_once_the_receipt_is(record: tuple[RecordAdapter, Held], number: int):
    adapter, held = record
    receipt = adapter.submit(an_outgoing(adapter.form, number))

    assert isinstance(receipt, Receipt)
    assert receipt.reference
    assert held(number) == (1, PDF)


def test_the_same_document_again_gives_the_same_receipt_and_no_second_copy(
    record: tuple[RecordAdapter, Held], number: int
):
    adapter, held = record
    document = an_outgoing(adapter.form, number)

    assert adapter.submit(document) == adapter.submit(document) == adapter.submit(document)
    assert held(number)[0] == 1


def test_two_workers_at_once_leave_one_copy(record: tuple[RecordAdapter, Held], number: int):
    adapter, held = record
    document = an_outgoing(adapter.form, number)
    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(lambda _: _submitted(adapter, document), range(4)))
    answers.discard(None)  # one that was disturbed by another knows nothing, and comes again

    assert answers == {adapter.submit(document)}
    assert held(number)[0] == 1


def test_another_document_of_the_same_version_is_refused_and_the_first_stays(
    record: tuple[RecordAdapter, Held], number: int
):
    adapter, held = record
    assert isinstance(adapter.submit(an_outgoing(adapter.form, number)), Receipt)

    answer = adapter.submit(an_outgoing(adapter.form, number, pdf=PDF + b"% other"))

    assert isinstance(answer, Rejected)
    assert answer.code == "health_record.conflict"
    assert answer.sentence
    assert held(number) == (1, PDF)


def test_documents_of_different_reports_lie_side_by_side(record: tuple[RecordAdapter, Held]):
    adapter, _ = record
    receipts = {adapter.submit(an_outgoing(adapter.form, next(_numbers))) for _ in range(3)}

    assert len(receipts) == 3
    assert all(isinstance(receipt, Receipt) for receipt in receipts)
