"""Signing a finalised version, from the reader's key to the sealed document.

Three phases: look (a short transaction), make (outside of any: render, seal, verify, store),
commit (a short transaction that looks again).  A process killed anywhere leaves the version
finalised and at most unnamed objects behind; signing again works, because an object's key holds
the digest of its bytes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kernel.digest import sha256_of
from kernel.errors import Corrupt, EngineError, NotFound, Refused, Transient
from kernel.facts import ReportSigned
from kernel.ids import derived
from reporting import report as rules
from reporting import sr, store
from reporting.certificates import SigningCertificate, require_fit
from reporting.commands import actor_of, require_current, require_writer
from reporting.document import Content, SealedDocument
from reporting.errors import SealBroken
from reporting.render import SignaturePanel, to_pdf
from reporting.report import Report
from reporting.signing import Signer, seal
from reporting.sr import Predecessor, StudyHeader
from reporting.store import Seal
from reporting.trust import Trust
from reporting.verify import require_sealed
from storage import archive, audit, outbox
from storage.archive import Manifest
from storage.engine import Database, Transaction
from storage.objects import ObjectStore

_SUBJECT_LENGTH = 500


class Instances(Protocol):
    """Reads stored images as they are shown, corrections applied."""

    def read(self, instance_uid: str) -> bytes:
        """Return the Part 10 file of an instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """What the first phase found."""

    report: Report
    content: Content
    manifest: Manifest
    predecessor: Predecessor | None
    at: datetime


class Signing:
    """Seals finalised versions.

    `instances` gives the images of the study, from which the SR takes the patient and study
    data, so that all objects of the study agree.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        instances: Instances | None,
        trust: Trust,
    ) -> None:
        self._database = database
        self._objects = objects
        self._instances = instances
        self._trust = trust

    def sign(self, report_id: str, version: int, signer: Signer) -> SealedDocument:
        """Seal a finalised version with its author's key; signing twice is once.

        Raises
        ------
        SigningRefused
            The certificate is not the author's, not valid now, unfit, or not trusted.
        ReportMoveRefused, NewerVersionExists
            The version is not finalised, or was edited since.
        worklist.NotHolder
            The author does not hold the case any more.
        SealBroken
            What was made does not verify; it was thrown away.
        """
        try:
            return self._sign(report_id, version, signer)
        except NotFound:
            raise
        except (Refused, SealBroken) as refusal:
            self._record_refusal(report_id, version, refusal)
            raise

    def _sign(self, report_id: str, version: int, signer: Signer) -> SealedDocument:
        with self._database.transaction() as tx:  # asking for the holder locks the case
            done = store.sealed(tx, report_id, version)
            if done is not None:
                return done
            ready = _ready(tx, report_id, version)
        made = self._make(ready, signer)
        with self._database.transaction() as tx:
            return _commit(tx, ready, made)

    def _make(self, ready: _Ready, signer: Signer) -> Seal:
        content = ready.content
        certificate = require_fit(
            signer.certificate, signer.chain, self._trust, author=content.author.id, at=ready.at
        )
        pdf = self._sealed_pdf(ready, signer, certificate)
        report_sr = sr.build(
            content,
            ready.manifest,
            self._header(ready),
            signed_at=ready.at,
            predecessor=ready.predecessor,
        )
        return Seal(
            pdf_key=self._put(content, "report.pdf", pdf),
            pdf_sha256=sha256_of(pdf),
            sr_key=self._put(content, "report.dcm", report_sr),
            sr_sha256=sha256_of(report_sr),
            sr_series_uid=sr.series_uid(content),
            sr_instance_uid=sr.instance_uid(content),
            signer_subject=certificate.subject[:_SUBJECT_LENGTH],
            demo_signature=certificate.demo,
            signed_at=ready.at,
        )

    def _sealed_pdf(self, ready: _Ready, signer: Signer, certificate: SigningCertificate) -> bytes:
        """Render, seal, and verify what was sealed before anything is stored."""
        content = ready.content
        panel = SignaturePanel(
            signed_at=ready.at,
            subject=certificate.subject,
            issuer=certificate.issuer,
            serial=certificate.serial,
            demo=certificate.demo,
        )
        pdf = seal(
            to_pdf(content, panel),
            signer,
            author_name=content.author.name,
            reason=f"{content.title.meaning}, version {content.version}",
            at=ready.at,
        )
        require_sealed(pdf, self._trust, content_digest=content.digest(), at=ready.at)
        return pdf

    def _header(self, ready: _Ready) -> StudyHeader:
        """Read the smallest image; where it cannot be had right now, ask the index."""
        if self._instances is not None and ready.manifest.entries:
            smallest = min(ready.manifest.entries, key=lambda entry: entry.length)
            try:
                return sr.header_of(self._instances.read(smallest.instance_uid))
            except (Transient, Corrupt):
                return sr.header_from(ready.content, ready.manifest)
        return sr.header_from(ready.content, ready.manifest)

    def _put(self, content: Content, name: str, data: bytes) -> str:
        digest = sha256_of(data)
        key = f"documents/{content.report_id}/{content.version}/{digest[:16]}/{name}"
        self._objects.put(key, data, digest)
        return key

    def _record_refusal(self, report_id: str, version: int, refusal: EngineError) -> None:
        with self._database.transaction() as tx:
            report = store.get(tx, report_id)
            audit.record(
                tx,
                actor=actor_of(report),
                action="report.signing_refused",
                subject=f"report:{report_id}",
                case_id=report.subject.case_id,
                outcome=audit.Outcome.REFUSED,
                detail={"version": version, "code": refusal.code},
            )


def _ready(tx: Transaction, report_id: str, number: int) -> _Ready:
    report = store.get(tx, report_id, lock=True)
    version = rules.require_sealable(report, number)
    require_writer(tx, report, version)
    content = store.content_of(tx, report_id, number)
    require_current(tx, content)
    return _Ready(
        report=report,
        content=content,
        manifest=archive.manifest(tx, content.study_uid, content.manifest_version),
        predecessor=_predecessor(tx, report),
        at=tx.at,
    )


def _predecessor(tx: Transaction, report: Report) -> Predecessor | None:
    if not report.sealed:
        return None
    last = store.sealed(tx, report.id, report.sealed[-1].number)
    return None if last is None else Predecessor(last.sr_series_uid, last.sr_instance_uid)


def _commit(tx: Transaction, ready: _Ready, seal_: Seal) -> SealedDocument:
    """Look again, mark the version sealed, and tell; another signing may have been faster."""
    content = ready.content
    report = store.get(tx, content.report_id, lock=True)
    done = store.sealed(tx, content.report_id, content.version)
    if done is not None:
        return done
    require_writer(tx, report, report.version(content.version))
    require_current(tx, content)
    store.save(tx, report, rules.seal(report, content.version, at=tx.at))
    store.add_seal(tx, content, seal_)
    _tell(tx, report, content, seal_)
    sealed = store.sealed(tx, content.report_id, content.version)
    assert sealed is not None
    return sealed


def _tell(tx: Transaction, report: Report, content: Content, seal_: Seal) -> None:
    audit.record(
        tx,
        actor=actor_of(report),
        action="report.signed",
        subject=f"report:{content.report_id}",
        case_id=content.case_id,
        detail={
            "version": content.version,
            "content_digest": content.digest(),
            "pdf_sha256": seal_.pdf_sha256,
            "sr_sha256": seal_.sr_sha256,
            "demo_signature": seal_.demo_signature,
        },
    )
    outbox.append(
        tx,
        ReportSigned(
            id=derived("fact", content.report_id, ReportSigned.kind, content.version),
            subject=content.case_id,
            at=tx.at,
            actor=actor_of(report).ref,
            case_id=content.case_id,
            report_id=content.report_id,
            report_version=content.version,
            document_digest=seal_.pdf_sha256,
            author=content.author.id,
        ),
    )
