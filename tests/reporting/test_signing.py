"""Signing on a real database: sealed once, whatever is repeated, refused or interrupted."""

import io
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread

import reporting
from kernel.digest import sha256_of
from kernel.errors import Transient
from reporting.errors import (
    CertificateExpired,
    CertificateOfAnother,
    NewerVersionExists,
    ReportMoveRefused,
    ReportUnknown,
)
from reporting.inspection import verify_all
from reporting.report import VersionState
from reporting.sections import RECOMMENDATION, Section
from reporting.sign import Signing
from reporting.trust import Trust
from reporting.verify import check
from storage import audit
from storage.memory import MemoryObjects
from storage.objects import StoreAbilities
from tests.reporting.samples import HOUR, SIGNED_TEXT
from worklist import NotHolder


class Interrupted(Exception):
    """The process was killed here."""


class DyingObjects:
    """An object store whose process dies at its n-th put: before or after it is durable."""

    def __init__(self, inner: MemoryObjects, *, at_put: int, durable: bool) -> None:
        self.inner = inner
        self.left = at_put
        self.durable = durable

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        self.left -= 1
        if self.left == 0 and not self.durable:
            raise Interrupted
        self.inner.put(key, data, digest)
        if self.left == 0:
            raise Interrupted

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        return self.inner.get(key, start=start, length=length)

    def size(self, key: str) -> int | None:
        return self.inner.size(key)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def probe(self) -> StoreAbilities:
        return self.inner.probe()


class ImagesElsewhere:
    """The journal of another node holds the images."""

    def read(self, instance_uid: str) -> bytes:
        raise Transient("the images lie in another node's journal")


def test_a_signed_report_is_sealed_stored_told_and_in_the_audit(room, r1_signer):
    report = room.finalised()

    document = room.signing.sign(report.id, 1, r1_signer)

    pdf = room.objects.get(document.pdf_key)
    assert sha256_of(pdf) == document.pdf_sha256
    assert (
        check(
            pdf, room.trust, content_digest=document.content_digest, at=document.signed_at
        ).problem
        is None
    )
    assert (document.author, document.organisation_name) == ("r-1", "Обласна лікарня")
    assert (document.request_id, document.accession) == (report.subject.request_id, "ACC-1")
    assert document.demo_signature
    (fact,) = room.facts(report.subject.case_id, "ReportSigned")
    assert fact.document_digest == document.pdf_sha256
    assert room.actions(report.subject.case_id)[-1] == ("report.signed", "success")
    with room.database.reading() as tx:
        assert reporting.sealed(tx, report.id, 1) == document
        assert list(audit.verify(tx)) == []


def test_the_sr_agrees_with_the_images_of_its_study(room, r1_signer, tmp_path):
    document = room.signing.sign(room.finalised().id, 1, r1_signer)
    path = tmp_path / "report.dcm"
    path.write_bytes(room.objects.get(document.sr_key))

    report = dcmread(path)
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)

    assert sha256_of(path.read_bytes()) == document.sr_sha256
    assert (report.StudyID, report.PatientID) == ("S77", "A-1001")
    assert report.SOPInstanceUID == document.sr_instance_uid
    assert report.SeriesInstanceUID == document.sr_series_uid
    assert "Error" not in said.stderr + said.stdout


def test_a_report_is_signed_also_while_its_images_lie_elsewhere(room, r1_signer):
    signing = Signing(room.database, room.objects, ImagesElsewhere(), room.trust)

    document = signing.sign(room.finalised().id, 1, r1_signer)

    report = dcmread(io.BytesIO(room.objects.get(document.sr_key)))
    assert (report.PatientID, report.PatientBirthDate) == ("A-1001", "19610412")


def test_signing_twice_is_signing_once(room, r1_signer):
    report = room.finalised()

    first = room.signing.sign(report.id, 1, r1_signer)
    room.at += HOUR
    second = room.signing.sign(report.id, 1, r1_signer)

    assert second == first
    assert len(room.facts(report.subject.case_id, "ReportSigned")) == 1


def test_two_signings_at_once_make_one_document(room, r1_signer):
    report = room.finalised()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: room.signing.sign(report.id, 1, r1_signer), range(4)))

    assert len({document.pdf_sha256 for document in results}) == 1
    assert len(room.facts(report.subject.case_id, "ReportSigned")) == 1
    assert [f.problem for f in verify_all(room.database, room.objects, room.trust)] == [None]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("at_put", [1, 2])
def test_after_a_death_at_any_put_signing_again_works(room, r1_signer, at_put, durable):
    report = room.finalised()
    dying = DyingObjects(room.objects, at_put=at_put, durable=durable)
    with pytest.raises(Interrupted):
        Signing(room.database, dying, room.archive, room.trust).sign(report.id, 1, r1_signer)
    with room.database.reading() as tx:
        assert reporting.versions_of(tx, report.id)[0].state is VersionState.FINALISED
    assert room.facts(report.subject.case_id, "ReportSigned") == []

    room.at += HOUR
    document = room.signing.sign(report.id, 1, r1_signer)

    assert document.signed_at == room.at
    assert len(room.facts(report.subject.case_id, "ReportSigned")) == 1
    assert [f.problem for f in verify_all(room.database, room.objects, room.trust)] == [None]


def test_the_key_of_somebody_else_is_refused_and_nothing_changes(room, make_signer):
    report = room.finalised()

    with pytest.raises(CertificateOfAnother):
        room.signing.sign(report.id, 1, make_signer(reader_id="r-2"))
    with pytest.raises(CertificateExpired):
        room.signing.sign(report.id, 1, make_signer(valid_until=room.at - HOUR))

    with room.database.reading() as tx:
        assert reporting.versions_of(tx, report.id)[0].state is VersionState.FINALISED
    assert room.facts(report.subject.case_id, "ReportSigned") == []
    assert room.actions(report.subject.case_id)[-2:] == [("report.signing_refused", "refused")] * 2


def test_a_draft_cannot_be_signed(room, r1_signer):
    report = room.save(room.begin(room.claimed_case()), *SIGNED_TEXT)

    with pytest.raises(ReportMoveRefused):
        room.signing.sign(report.id, 1, r1_signer)


def test_an_older_version_cannot_be_signed(room, r1_signer):
    report = room.finalised()
    room.save(report, Section(RECOMMENDATION, "CT"), revision=report.revision + 1)

    with pytest.raises(NewerVersionExists):
        room.signing.sign(report.id, 1, r1_signer)


def test_what_does_not_exist_cannot_be_signed(room, r1_signer):
    with pytest.raises(ReportUnknown):
        room.signing.sign("report-?", 1, r1_signer)


def test_a_case_that_was_given_away_is_not_signed_by_its_former_reader(room, r1_signer):
    report = room.finalised()
    room.release(report.subject.case_id)

    with pytest.raises(NotHolder):
        room.signing.sign(report.id, 1, r1_signer)


def test_a_case_lost_while_the_document_was_made_is_not_signed(room, make_signer):
    report = room.finalised()
    inner = make_signer()

    class SlowKey:
        """The lease runs out while the key works."""

        certificate = inner.certificate
        chain = inner.chain

        def sign(self, data: bytes, digest: str) -> bytes:
            room.release(report.subject.case_id)
            return inner.sign(data, digest)

    with pytest.raises(NotHolder):
        room.signing.sign(report.id, 1, SlowKey())

    assert room.facts(report.subject.case_id, "ReportSigned") == []


def test_every_sealed_document_is_examined_and_each_lie_is_named(room, r1_signer):
    document = room.signing.sign(room.finalised().id, 1, r1_signer)

    def problem(trust: Trust = room.trust) -> str | None:
        (finding,) = verify_all(room.database, room.objects, trust)
        assert (finding.report_id, finding.version) == (document.report_id, 1)
        return finding.problem

    assert problem() is None
    assert problem(Trust(())) == "the certificate of the signature is not trusted"
    sr_bytes = room.objects.get(document.sr_key)
    room.objects.delete(document.sr_key)
    assert problem() == "no object has this key"
    changed = sr_bytes + b"\0"
    room.objects.put(document.sr_key, changed, sha256_of(changed))
    assert problem() == "the stored SR was changed"
