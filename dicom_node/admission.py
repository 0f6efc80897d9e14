"""Admitting instances whose bytes are durable: header and place become rows of the index."""

from collections.abc import Sequence, Set
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.headers import InstanceHeader
from dicom_node.note import note_of
from dicom_node.source import Announced as Announced
from dicom_node.source import Route as Route
from dicom_node.source import Source as Source
from dicom_node.uids import KEY_OBJECTS
from kernel.ids import InstanceUID, PatientRef, SeriesUID, StudyUID, is_uid
from storage import archive, audit, kept_aside, patients, rejections
from storage.archive import Admission, Admitted, Conflict, DigestLike, Known, NewInstance
from storage.engine import Transaction
from storage.journal import Place
from storage.patients import Patient

_MAX_SOURCE = 80
_MAX_ACTOR = 80
_MAX_TITLE = 16
_MAX_REFS = 256


class Arrival(NamedTuple):
    """One instance that is durable and has a readable header."""

    header: InstanceHeader
    source: Source
    received_at: datetime
    place: Place


def checked(header: InstanceHeader, announced: Announced) -> InstanceHeader:
    """Return the header if the data set is what was announced.

    Raises
    ------
    Unreadable
        The data set is of another SOP class or another instance (PS3.4 section B.2.3, A9xx).
    """
    if header.sop_class_uid != announced.sop_class_uid:
        raise Unreadable(
            UnreadableReason.OTHER_SOP_CLASS, "the data set is of another SOP class than announced"
        )
    if header.instance_uid != announced.sop_instance_uid:
        raise Unreadable(
            UnreadableReason.OTHER_INSTANCE, "the data set is another instance than announced"
        )
    return header


def admit(
    tx: Transaction,
    arrivals: Sequence[Arrival],
    *,
    digest_like: DigestLike,
    registered: Set[str] = frozenset(),
    known: Known | None = None,
) -> list[Admitted]:
    """Admit instances in one transaction; return what became of each, in order.

    What contradicts the index is kept aside, and says so in the audit chain.

    Parameters
    ----------
    digest_like
        Reads the bytes of an arrival again; see `storage.arrivals.admit_many`.
    registered
        References of patients that are known to be in the registry already.
    known
        What the archive need not ask for again; the caller confirms it after the commit.
    """
    newcomers = _register(tx, arrivals, registered)
    rows = [(new_instance(each, patient_ref(each.header)), each.place) for each in arrivals]
    admitted = archive.admit_many(
        tx, rows, digest_like=digest_like, known=known, newcomers=newcomers
    )
    for arrival, each in zip(arrivals, admitted, strict=True):
        if arrival.header.sop_class_uid == KEY_OBJECTS and each.admission is Admission.STORED:
            _enter(tx, arrival)
        if arrival.source.route is not Route.DIMSE and each.admission is Admission.STORED:
            _tell(tx, arrival)
        if each.conflict is Conflict.OTHER_PATIENT:
            _keep_for_later(tx, arrival)
        if each.conflict is not None:
            _alarm(tx, arrival.source, arrival.place, each.conflict.value, arrival.header)
    return admitted


def _enter(tx: Transaction, arrival: Arrival) -> None:
    """Have key objects read: they may be a manifest, or take back what was sent."""
    rejections.enter(
        tx,
        arrival.header.instance_uid,
        arrival.header.study_uid,
        actor=arrival.source.actor.ref[:_MAX_ACTOR],
        organisation_id=arrival.source.organisation_id,
        received_at=arrival.received_at,
    )


def _tell(tx: Transaction, arrival: Arrival) -> None:
    """Put on record what came by HTTP or of a file, in whichever process it is admitted.

    Of a file it is each object; of STOW-RS that the storing of a study began.  Who asked for it,
    for which request, and how much it was, is told behind it; a process may end in between.
    """
    source, header = arrival.source, arrival.header
    if source.route is Route.FILE:
        audit.record(
            tx,
            actor=source.actor,
            action="instance.imported",
            subject=f"instance:{header.instance_uid}",
            detail={"study": header.study_uid},
        )
    if source.route is Route.STOW and source.begins:
        audit.record(
            tx,
            actor=source.actor,
            action="study.storing_began",
            subject=f"study:{header.study_uid}",
            detail={"instance": header.instance_uid},
        )


def _keep_for_later(tx: Transaction, arrival: Arrival) -> None:
    """Keep what it takes to admit an instance once its patient and the study's are one person."""
    header = arrival.header
    announced = Announced(header.sop_class_uid, header.instance_uid, header.transfer_syntax_uid)
    kept_aside.keep(
        tx,
        arrival.place,
        study_uid=header.study_uid,
        patient_ref=patient_ref(header),
        note=note_of(announced, arrival.source, arrival.received_at),
    )


def quarantine(
    tx: Transaction,
    place: Place,
    *,
    source: Source,
    announced_uid: str,
    refusal: Unreadable,
    received_at: datetime,
) -> None:
    """Keep bytes that cannot be indexed, listed with their reason."""
    archive.quarantine(
        tx,
        place,
        source=source.name[:_MAX_SOURCE],
        code=f"{refusal.code}.{refusal.reason.value}",
        reason=refusal.sentence,
        received_at=received_at,
        instance_uid=announced_uid if is_uid(announced_uid) else None,
    )
    _alarm(tx, source, place, f"{refusal.code}.{refusal.reason.value}", None)


def patient_ref(header: InstanceHeader) -> PatientRef:
    """Return the reference that the registry gives to the patient of a header."""
    return _ref_of(header.issuer, header.patient_id)


@lru_cache(maxsize=_MAX_REFS)
def _ref_of(issuer: str, patient_id: str) -> PatientRef:
    return patients.reference(issuer, patient_id)


def new_instance(arrival: Arrival, ref: PatientRef) -> NewInstance:
    """Return the index row of an arrival."""
    header, source = arrival.header, arrival.source
    by_device = source.route is Route.DIMSE
    return NewInstance(
        instance_uid=InstanceUID(header.instance_uid),
        series_uid=SeriesUID(header.series_uid),
        study_uid=StudyUID(header.study_uid),
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
        modality=header.modality,
        patient_ref=ref,
        accession=header.accession,
        study_description=header.study_description,
        study_date=header.study_date,
        study_time=header.study_time,
        study_id=header.study_id,
        referring_physician=header.referring_physician,
        series_number=header.series_number,
        series_description=header.series_description,
        instance_number=header.instance_number,
        body_part=header.body_part,
        station_ae_title=source.name[:_MAX_TITLE] if by_device else "",
        rows=header.rows,
        columns=header.columns,
        frames=header.frames,
        received_at=arrival.received_at,
        source=source.name[:_MAX_SOURCE],
        sender_organisation="" if by_device else source.organisation_id,
    )


def _register(tx: Transaction, arrivals: Sequence[Arrival], registered: Set[str]) -> Set[str]:
    """Register the patients who are not yet; return the references of these."""
    unknown = {
        ref: each.header
        for each in reversed(arrivals)
        if (ref := patient_ref(each.header)) not in registered
    }
    if not unknown:
        return frozenset()
    # In one order everywhere, so that two nodes with the same patients never wait for each other.
    return patients.register_all(tx, [_patient(ref, unknown[ref]) for ref in sorted(unknown)])


def _patient(ref: PatientRef, header: InstanceHeader) -> Patient:
    return Patient(
        ref,
        header.issuer,
        header.patient_id,
        header.patient_name,
        header.sex,
        header.birth_date,
    )


def _alarm(
    tx: Transaction, source: Source, place: Place, code: str, header: InstanceHeader | None
) -> None:
    audit.record(
        tx,
        actor=source.actor,
        action="instance.quarantined",
        subject=f"instance:{header.instance_uid}" if header else f"bytes:{place.digest}",
        outcome=audit.Outcome.REFUSED,
        detail={"code": code, "digest": place.digest},
    )
