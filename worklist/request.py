"""The request for a reading: what a site asks for before or after it sends the images."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kernel.digest import digest_of_value
from kernel.facts import RequestChanged, RequestReceived
from kernel.ids import OrganisationId, PatientRef, ReaderId, RequestId, StudyUID, derived, is_uid
from worklist.act import Act
from worklist.errors import RequestIncomplete


class Form(StrEnum):
    """How pressing the request is (KZ §6).

    The law knows urgent and planned; an evident threat to life is outside its "urgent"
    (KZ §6(1)), so it has an internal class above the two, which only a human may give.
    """

    EMERGENT = "emergent"
    URGENT = "urgent"
    PLANNED = "planned"


class Payer(StrEnum):
    """The source of payment (KZ §41-43)."""

    STATE_GUARANTEED = "state_guaranteed"
    MANDATORY_INSURANCE = "mandatory_insurance"
    VOLUNTARY_INSURANCE = "voluntary_insurance"
    PAID = "paid"


class RequestState(StrEnum):
    """Where a request stands; the reading itself is the case."""

    RECEIVED = "received"
    MATCHED = "matched"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """What a site submits (KZ §8, §20).

    Either `accession` or `study_uid` is given: without one of them no study can be found for it.
    `profile` and `named_reader` are given when the site chooses them (KZ §22).
    """

    organisation_id: OrganisationId
    patient_ref: PatientRef
    accession: str = ""
    study_uid: StudyUID | None = None
    modality: str = ""
    station_ae_title: str = ""
    procedure: str = ""
    scheduled_at: datetime | None = None
    profile: str | None = None
    form: Form = Form.PLANNED
    named_reader: ReaderId | None = None
    payer: Payer | None = None

    @property
    def id(self) -> RequestId:
        """The id that this accession of this site (or else this study) always has."""
        if self.accession:
            return RequestId(derived("request", self.organisation_id, self.accession))
        return RequestId(derived("request", self.organisation_id, "study", self.study_uid or ""))

    @property
    def digest(self) -> str:
        """Digest of the whole content: the same request again has the same one."""
        return digest_of_value(
            {
                "organisation_id": self.organisation_id,
                "patient_ref": self.patient_ref,
                "accession": self.accession,
                "study_uid": self.study_uid,
                "modality": self.modality,
                "station_ae_title": self.station_ae_title,
                "procedure": self.procedure,
                "scheduled_at": self.scheduled_at and self.scheduled_at.timestamp().hex(),
                "profile": self.profile,
                "form": self.form,
                "named_reader": self.named_reader,
                "payer": self.payer,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as the engine keeps it."""

    id: RequestId
    organisation_id: OrganisationId
    patient_ref: PatientRef
    accession: str
    study_uid: StudyUID | None
    modality: str
    station_ae_title: str
    procedure: str
    scheduled_at: datetime | None
    profile: str | None
    form: Form
    named_reader: ReaderId | None
    payer: Payer | None
    digest: str
    state: RequestState
    state_reason: str
    received_at: datetime


def receive(new: NewRequest, *, act: Act) -> tuple[Request, RequestReceived]:
    """Take a request in.

    Raises
    ------
    RequestIncomplete
        It names neither an accession nor a study, or no patient and no study, or its study UID
        is not a UID (DICOM PS3.5 section 9.1).
    """
    _check(new)
    request = Request(
        id=new.id,
        organisation_id=new.organisation_id,
        patient_ref=new.patient_ref,
        accession=new.accession,
        study_uid=new.study_uid,
        modality=new.modality,
        station_ae_title=new.station_ae_title,
        procedure=new.procedure,
        scheduled_at=new.scheduled_at,
        profile=new.profile,
        form=new.form,
        named_reader=new.named_reader,
        payer=new.payer,
        digest=new.digest,
        state=RequestState.RECEIVED,
        state_reason="study_awaited",
        received_at=act.at,
    )
    return request, RequestReceived(
        id=derived("fact", request.id, RequestReceived.kind),
        subject=request.id,
        at=act.at,
        actor=act.by.ref,
        cause=act.cause,
        request_id=request.id,
        organisation_id=request.organisation_id,
        patient_ref=request.patient_ref,
        accession=request.accession,
        study_uid=request.study_uid,
        modality=request.modality,
        station_ae_title=request.station_ae_title,
        procedure=request.procedure,
        scheduled_at=request.scheduled_at,
        profile=request.profile,
        form=request.form,
    )


def changed(request: Request, *, act: Act) -> RequestChanged:
    """Return the fact that tells where a request now stands (KZ §15)."""
    return RequestChanged(
        id=derived("fact", request.id, RequestChanged.kind, request.state, request.state_reason),
        subject=request.id,
        at=act.at,
        actor=act.by.ref,
        cause=act.cause,
        request_id=request.id,
        state=request.state,
        scheduled_at=request.scheduled_at,
        reason=request.state_reason,
    )


def _check(new: NewRequest) -> None:
    if not new.accession and new.study_uid is None:
        raise RequestIncomplete("a request names an accession number or a study")
    if not new.patient_ref and new.study_uid is None:
        raise RequestIncomplete("a request without a patient must name its study")
    if new.study_uid is not None and not is_uid(new.study_uid):
        raise RequestIncomplete("the study of the request is not a UID", study_uid=new.study_uid)
