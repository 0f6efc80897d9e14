"""Bringing a signed report back to the Orthanc that its study came from: the SR, and the PDF.

A delivery like those to the health record: durable, tried again for days, parked with its reason
and replayed by hand; its receipt names both objects as Orthanc knows them.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date

import reporting
from dicom_node import orthanc_store
from dicom_node.composite import Belonging
from dicom_node.errors import OrthancRefuses, OrthancUnknown
from dicom_node.headers import Defaults, read_file
from dicom_node.orthanc import Bounds, Remote, md5_of
from dicom_node.paper import encapsulated
from health_record.evidence import Evidence
from health_record.port import Form, OutgoingDocument, Receipt, RecordAdapter
from kernel.facts import CaseSigned
from kernel.ids import derived_uid
from reporting.sr import header_of
from storage.engine import Database, Transaction

PREFIX = "orthanc:"
_PDF_SERIES = 992
_UNNAMED = Defaults(issuer="unstated")


def destinations(tx: Transaction, fact: CaseSigned) -> Sequence[str]:
    """Return the Orthancs that the study of a signed report came from, as destinations."""
    sealed = reporting.sealed(tx, fact.report_id, fact.report_version)
    return [f"{PREFIX}{name}" for name in orthanc_store.sources_of(tx, sealed.study_uid)]


def as_dicom(evidence: Evidence, pdf: bytes, sr: bytes) -> bytes:
    """Return the signed PDF as an object of the study that was read; always the same bytes.

    It is of the patient whom the signed SR names, however that was corrected since: with two
    names the Orthanc would take the two for objects of two studies.
    """
    sealed, told = evidence.sealed, header_of(sr)
    belonging = Belonging(
        study_uid=sealed.study_uid,
        patient_id=told.patient_id,
        issuer=told.issuer,
        patient_name=told.patient_name,
        sex=told.sex,
        birth_date=date.fromisoformat(told.birth_date) if told.birth_date else None,
        accession=sealed.accession,
        study_description=evidence.manifest.study_description,
        institution=sealed.organisation_name,
        made_at=sealed.signed_at,
    )
    return encapsulated(
        pdf,
        belonging,
        instance_uid=derived_uid("report.pdf", sealed.report_id, sealed.version),
        series_uid=derived_uid("report.pdf.series", sealed.report_id),
        title=sealed.title,
        number=_PDF_SERIES,
    )


class Returns:
    """Makes the adapters of the Orthancs that are registered."""

    def __init__(
        self, database: Database, *, password_of: Callable[[str], str], bounds: Bounds
    ) -> None:
        self._database = database
        self._password_of = password_of
        self._bounds = bounds

    def adapter_of(self, destination: str) -> RecordAdapter | None:
        """Return the adapter of a destination, None if it is no registered Orthanc."""
        if not destination.startswith(PREFIX):
            return None
        try:
            with self._database.reading() as tx:
                orthanc = orthanc_store.get(tx, destination.removeprefix(PREFIX))
        except OrthancUnknown:
            return None

        def connected() -> Remote:
            return Remote(orthanc, self._password_of(orthanc.name), self._bounds)

        return OrthancReturn(self._database, orthanc.name, connected)


class OrthancReturn:
    """Brings the objects of a report to one Orthanc; see `RecordAdapter`."""

    form = Form.DICOM

    def __init__(self, database: Database, name: str, connected: Callable[[], Remote]) -> None:
        self._database = database
        self._name = name
        self._connected = connected

    def submit(self, document: OutgoingDocument) -> Receipt:
        """Bring SR and PDF, each unless it is there already; they are there when it returns.

        Raises
        ------
        OrthancRefuses
            It takes no such object, or holds another one under the same UID.
        Transient
            It cannot be reached, or does not let us in.
        """
        with closing(self._connected()) as remote:
            ids = [self._brought(remote, part10) for part10 in (document.sr, document.body)]
        return Receipt(f"{PREFIX}{self._name} SR {ids[0]} PDF {ids[1]}")

    def _brought(self, remote: Remote, part10: bytes) -> str:
        uid = read_file(part10, _UNNAMED)[0].instance_uid
        with self._database.transaction() as tx:
            # Before it leaves: what is ours is never taken for a late image and pulled back.
            orthanc_store.note_return(tx, self._name, uid)
        there = self._there(remote, uid, part10)
        return there or self._uploaded(remote, uid, part10)

    def _uploaded(self, remote: Remote, uid: str, part10: bytes) -> str:
        remote.upload(part10)
        there = self._there(remote, uid, part10)
        if there is None:
            raise OrthancRefuses("the Orthanc took the object and does not hold it")
        return there

    def _there(self, remote: Remote, uid: str, part10: bytes) -> str | None:
        """Return Orthanc's id of the object if it holds these bytes."""
        found = remote.find(uid)
        if not found:
            return None
        if any(remote.md5(id) in (None, md5_of(part10)) for id in found):
            return found[0]
        raise OrthancRefuses("the Orthanc holds another object under the UID of ours")
