"""Orders as scripts and sites write them, made into requests of the worklist."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import worklist
from kernel.errors import Refused
from kernel.ids import OrganisationId, StudyUID
from kernel.people import Actor
from storage import patients
from storage.engine import Transaction
from storage.patients import unstated_issuer
from worklist import commands
from worklist.act import Act
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.request import Form, NewRequest, Request
from worklist.settings import WorklistSettings

DEFAULT_SITE = "local"
DEFAULT_PROFILE = "general"
IMAGING_MODALITIES = ("CR", "CT", "DX", "IO", "MG", "MR", "NM", "PT", "PX", "RF", "US", "XA")
"""Defined terms of Modality (DICOM PS3.3 C.7.3.1.1.1) that radiologists read."""
MAX_ORDERS = 10_000

# Other spellings that sites use for the same field; the DICOM keywords among them.
_ALIASES = {
    "accession_number": "accession",
    "patient": "patient_id",
    "patient_name": "name",
    "patient_issuer": "issuer",
    "patient_id_issuer": "issuer",
    "birthdate": "birth_date",
    "date_of_birth": "birth_date",
    "issuer_of_patient_id": "issuer",
    "patient_sex": "sex",
    "patient_birth_date": "birth_date",
    "station_aet": "station_ae_title",
    "scheduled_station_ae_title": "station_ae_title",
    "procedure_description": "procedure",
    "requested_procedure_description": "procedure",
    "scheduled_procedure_step_description": "procedure",
    "scheduled_procedure_step_start_date_time": "scheduled_time",
    "scheduled_at": "scheduled_time",
    "scheduled": "scheduled_time",
    "study_instance_uid": "study_uid",
    "organisation_id": "organisation",
    "organization": "organisation",
    "site": "organisation",
}


# What the registry, the worklist and DICOM (PS3.5 table 6.2-1) take, in characters.
_LONGEST = {
    "accession": 64,
    "patient_id": 64,
    "issuer": 64,
    "name": 324,
    "sex": 16,
    "modality": 16,
    "station_ae_title": 16,
    "procedure": 200,
    "profile": 64,
    "study_uid": 64,
    "organisation": 64,
}


class OrderUnreadable(Refused):
    """An order lacks a field, has one that nobody knows, or one that cannot be read."""

    code = "order.unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order, its fields read but not yet compared with what the engine knows."""

    accession: str = ""
    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    sex: str = ""
    birth_date: date | None = None
    modality: str = ""
    station_ae_title: str = ""
    procedure: str = ""
    scheduled_time: datetime | None = None
    profile: str | None = None
    form: Form = Form.PLANNED
    study_uid: str | None = None
    organisation: str | None = None


def parse(told: object) -> list[Order]:
    """Return the orders of a JSON value: one object or a list of them.

    Raises
    ------
    OrderUnreadable
        Something is not an order, and which field is why.
    """
    items = told if isinstance(told, list) else [told]
    if len(items) > MAX_ORDERS:
        raise OrderUnreadable(f"at most {MAX_ORDERS} orders are taken at once")
    return [_order(item) for item in items]


def add(
    tx: Transaction, order: Order, *, by: Actor, settings: WorklistSettings | None = None
) -> Request:
    """Enter an order as a request; the same order again is the same answer."""
    site = ensure_site(tx, order.organisation, by=by)
    _ensure_profile(tx, settings or WorklistSettings(), by=by)
    ref = patients.register(
        tx,
        issuer=order.issuer or unstated_issuer(site),
        patient_id=order.patient_id,
        name=order.name,
        sex=order.sex,
        birth_date=order.birth_date,
    )
    return commands.add_request(
        tx,
        NewRequest(
            organisation_id=site,
            patient_ref=ref,
            accession=order.accession,
            study_uid=StudyUID(order.study_uid) if order.study_uid else None,
            modality=order.modality,
            station_ae_title=order.station_ae_title,
            procedure=order.procedure,
            scheduled_at=order.scheduled_time,
            profile=order.profile,
            form=order.form,
        ),
        act=Act(at=tx.at, by=by),
    )


def ensure_site(tx: Transaction, site: str | None, *, by: Actor) -> OrganisationId:
    """Return the requesting organisation of a name, or the site 'local', made if it is new.

    Raises
    ------
    worklist.errors.OrganisationUnknown
        A site is named that does not exist.
    """
    if site is not None:
        return worklist.get_organisation(tx, site).id
    local = Organisation(OrganisationId(DEFAULT_SITE), "Local site", OrganisationKind.REQUESTING)
    if DEFAULT_SITE not in {known.id for known in worklist.list_organisations(tx)}:
        commands.add_organisation(tx, local, act=Act(at=tx.at, by=by))
    return local.id


def _ensure_profile(tx: Transaction, settings: WorklistSettings, *, by: Actor) -> None:
    """Make the profile that takes every modality, where no profile was entered at all.

    It is the default of none, so that profiles entered later go before it.
    """
    if not worklist.list_profiles(tx):
        takes = tuple(Takes(modality) for modality in IMAGING_MODALITIES)
        profile = Profile(DEFAULT_PROFILE, "General radiology", takes)
        commands.add_profile(tx, profile, settings=settings, act=Act(at=tx.at, by=by))


def _order(item: object) -> Order:
    if not isinstance(item, Mapping):
        raise OrderUnreadable("an order is a JSON object")
    told: dict[str, object] = {}
    for key, value in item.items():
        name = _name(str(key))
        if told.setdefault(name, value) != value:
            raise OrderUnreadable(f"an order has two different values for '{name}'")
    told = {name: value for name, value in told.items() if value not in (None, "")}
    unknown = told.keys() - Order.__dataclass_fields__.keys()
    if unknown:
        raise OrderUnreadable(f"an order has no field '{sorted(unknown)[0]}'")
    texts = {name: _text(name, value) for name, value in told.items()}
    values: dict[str, object] = {name: text for name, text in texts.items() if text}
    if "patient_id" not in values:
        raise OrderUnreadable("an order names its patient: 'patient_id' is missing")
    if not values.keys() & {"accession", "study_uid"}:
        raise OrderUnreadable("an order has an 'accession' or a 'study_uid' to find its study by")
    if "birth_date" in values:
        values["birth_date"] = _moment("birth_date", values["birth_date"]).date()
    if "scheduled_time" in values:
        values["scheduled_time"] = _moment("scheduled_time", values["scheduled_time"])
    if "form" in values:
        values["form"] = _form(values["form"])
    return Order(**values)  # type: ignore[arg-type]


def _name(key: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", key)
    snake = re.sub(r"[\s-]+", "_", words).lower()
    return _ALIASES.get(snake, snake)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise OrderUnreadable(f"the field '{name}' of an order is a text")
    text = str(value).strip()
    if len(text) > _LONGEST.get(name, 64):
        raise OrderUnreadable(
            f"the field '{name}' of an order has at most {_LONGEST.get(name, 64)} characters"
        )
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise OrderUnreadable(f"the field '{name}' of an order has control characters")
    return text


def _moment(name: str, value: object) -> datetime:
    text = str(value)
    for form in ("%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise OrderUnreadable(f"the field '{name}' is not an ISO 8601 date or time") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _form(value: object) -> Form:
    try:
        return Form(str(value).lower())
    except ValueError:
        known = ", ".join(form.value for form in Form)
        raise OrderUnreadable(f"the form of an order is one of {known}") from None
