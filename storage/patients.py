"""The registry of patients: the one place that holds names, asked downward by every package."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import and_, bindparam, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from kernel.errors import NotFound
from kernel.ids import UNIDENTIFIED, PatientRef, derived
from storage import patient_names
from storage.correction import Kind
from storage.prepared import Prepared
from storage.tables.corrections import CORRECTIONS
from storage.tables.patients import PATIENTS
from storage.transaction import Transaction

_UNSTATED = "unstated:"
_REGISTER = Prepared(
    {
        "sqlite": sqlite.insert(PATIENTS).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(PATIENTS).on_conflict_do_nothing(),
    },
    ["ref", "issuer", "patient_id", "name", "sex", "birth_date", "registered_at"],
)


@dataclass(frozen=True, slots=True)
class Patient:
    """One person as one issuer of identifiers knows them."""

    ref: PatientRef
    issuer: str
    patient_id: str
    name: str
    sex: str
    birth_date: date | None

    @property
    def is_unstated(self) -> bool:
        """Say whether nobody stated who gave the id out."""
        return self.issuer.startswith(_UNSTATED)


class PatientUnknown(NotFound):
    """No patient has this reference."""

    code = "storage.patient_unknown"


def register(
    tx: Transaction,
    *,
    issuer: str,
    patient_id: str,
    name: str,
    sex: str,
    birth_date: date | None,
) -> PatientRef:
    """Return the reference of (issuer, id); the first registration settles the demographics.

    Later senders that spell the name otherwise change nothing: corrections are an explicit act.
    """
    made = Patient(reference(issuer, patient_id), issuer, patient_id, name, sex, birth_date)
    register_all(tx, [made])
    return made.ref


def register_all(tx: Transaction, newcomers: Iterable[Patient]) -> Set[str]:
    """Register those who are not registered yet; return the references of these."""
    registered: dict[str, str] = {}
    for each in newcomers:
        row = (each.ref, each.issuer, each.patient_id, each.name, each.sex, each.birth_date, tx.at)
        if tx.run(_REGISTER, [row]):
            registered[each.ref] = each.name
    patient_names.enter(tx, registered)
    return registered.keys()


def reference(issuer: str, patient_id: str) -> PatientRef:
    """Return the reference of (issuer, id), which is the same everywhere."""
    return PatientRef(derived("patient", issuer, patient_id))


def unstated_issuer(organisation_id: str) -> str:
    """Return what stands for the issuer where neither sender nor order states one.

    Scoped by organisation, so that two hospitals that count from 1 never share a patient.
    """
    return f"{_UNSTATED}{organisation_id}"[:64]


def stands_for(tx: Transaction, ref: str) -> PatientRef:
    """Return who stands for a patient: itself, or the one it was merged into."""
    found = tx.execute(select(PATIENTS.c.survivor).where(PATIENTS.c.ref == ref)).scalar()
    return PatientRef(found or ref)


def is_stated(issuer: str) -> bool:
    """Say whether an issuer was stated by somebody, and may be told to others."""
    return not issuer.startswith(_UNSTATED)


def same_person(tx: Transaction, ref: str) -> frozenset[PatientRef]:
    """Return the references that may stand for the same person as `ref`, itself among them.

    Those that were merged do.  Where one side does not state its issuer, the patient id alone is
    compared, unless a person said that they are two; it proves nothing by itself and serves only
    beside further evidence, such as the accession number.
    """
    row = tx.execute(select(PATIENTS).where(PATIENTS.c.ref == ref)).mappings().first()
    if row is None:
        return frozenset({PatientRef(ref)})
    others = tx.execute(
        select(PATIENTS.c.ref, PATIENTS.c.issuer).where(
            PATIENTS.c.patient_id == row["patient_id"], PATIENTS.c.patient_id != ""
        )
    ).all()
    mine = row["issuer"].startswith(_UNSTATED)
    alike = {o.ref for o in others if mine or o.issuer.startswith(_UNSTATED)} - {ref}
    alike -= _kept_apart(tx, ref) if alike else set()
    return frozenset(map(PatientRef, {ref} | alike | _merged_with(tx, row["survivor"] or ref)))


def may_be_one(tx: Transaction, owner: str, other: str) -> bool:
    """Say whether two references within one study do not contradict each other.

    They do not where they were merged, where an issuer is not stated and the ids agree, and where
    an instance names no patient at all: then the study that it belongs to says whose it is.
    """
    unnamed = UNIDENTIFIED in (registered(tx, owner).issuer, registered(tx, other).issuer)
    return unnamed or owner in same_person(tx, other)


def _merged_with(tx: Transaction, root: str) -> set[str]:
    merged = tx.execute(select(PATIENTS.c.ref).where(PATIENTS.c.survivor == root)).scalars()
    return {root, *merged}


def _kept_apart(tx: Transaction, ref: str) -> set[str]:
    pairs = tx.execute(
        select(CORRECTIONS.c.subject, CORRECTIONS.c.target).where(
            CORRECTIONS.c.kind == Kind.DISTINCT.value,
            CORRECTIONS.c.withdrawn_at.is_(None),
            or_(CORRECTIONS.c.subject == ref, CORRECTIONS.c.target == ref),
        )
    )
    return {ref for pair in pairs for ref in (pair.subject, pair.target)}


def get(tx: Transaction, ref: str) -> Patient:
    """Return the patient of a reference, or the one who stands for it after a merge.

    Raises
    ------
    PatientUnknown
        No patient has this reference.
    """
    row = _row(tx, ref)
    return _patient(row if row["survivor"] is None else _row(tx, row["survivor"]))


def registered(tx: Transaction, ref: str) -> Patient:
    """Return the patient of a reference whether or not another stands for it.

    Raises
    ------
    PatientUnknown
        No patient has this reference.
    """
    return _patient(_row(tx, ref))


def known_as(tx: Transaction, ref: str) -> list[Patient]:
    """Return everything that a person is registered as: the patient, and those merged with it.

    Raises
    ------
    PatientUnknown
        No patient has this reference.
    """
    root = stands_for(tx, ref)
    merged = sorted(_merged_with(tx, root) - {root})
    return [registered(tx, each) for each in (root, *merged)]


@dataclass(frozen=True, slots=True)
class Standing:
    """Who stands for a patient, and what of that is another than was registered first.

    `described` names the demographics that were corrected, of one who stands for itself.
    """

    patient: Patient
    is_merged: bool
    described: frozenset[str]


def standing(tx: Transaction, refs: Iterable[str]) -> dict[str, Standing]:
    """Return who stands for each of some patients, in one statement; who is unknown is left out."""
    rows = tx.execute(_STANDING, {"refs": sorted(set(refs))}).mappings()
    return {row["own_ref"]: _standing(row) for row in rows}


def one_with(tx: Transaction, refs: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return for each of some patients all references that are the same person by a merge."""
    wanted = sorted(set(refs))
    roots = dict.fromkeys(wanted, "") | {
        row.ref: row.root for row in tx.execute(_ROOTS, {"refs": wanted})
    }
    merged: dict[str, set[str]] = {}
    for row in tx.execute(_MERGED, {"refs": sorted(set(filter(None, roots.values())))}):
        merged.setdefault(row.survivor, set()).add(row.ref)
    return {
        ref: frozenset({ref, root or ref} | merged.get(root, set())) for ref, root in roots.items()
    }


_ROOTS = select(
    PATIENTS.c.ref, func.coalesce(PATIENTS.c.survivor, PATIENTS.c.ref).label("root")
).where(PATIENTS.c.ref.in_(bindparam("refs", expanding=True)))
_MERGED = select(PATIENTS.c.ref, PATIENTS.c.survivor).where(
    PATIENTS.c.survivor.in_(bindparam("refs", expanding=True))
)
_OWN = PATIENTS.alias("own")
_STANDING = (
    select(PATIENTS, _OWN.c.ref.label("own_ref"))
    .join(_OWN, PATIENTS.c.ref == func.coalesce(_OWN.c.survivor, _OWN.c.ref))
    .where(_OWN.c.ref.in_(bindparam("refs", expanding=True)))
)


def _standing(row: Mapping[Any, Any]) -> Standing:
    is_merged = row["own_ref"] != row["ref"]
    first = {} if is_merged else row["registered"] or {}
    return Standing(
        _patient(row),
        is_merged,
        frozenset(name for name, value in first.items() if value != as_text(row[name])),
    )


def as_text(value: object) -> str:
    """Return what the registry says of a patient as corrections have it: dates as ISO 8601."""
    return value.isoformat() if isinstance(value, date) else str(value or "")


def find(tx: Transaction, patient_id: str, issuer: str = "") -> list[Patient]:
    """Return the patients with an id, of one issuer if it is named."""
    query = select(PATIENTS).where(PATIENTS.c.patient_id == patient_id).order_by(PATIENTS.c.issuer)
    if issuer:
        query = query.where(PATIENTS.c.issuer == issuer)
    return [_patient(row) for row in tx.execute(query).mappings()]


def lookalikes(tx: Transaction, *, limit: int = 100) -> list[tuple[Patient, Patient]]:
    """Return pairs of which a person has to say whether they are one.

    One came without a stated issuer, the other has the same id from an issuer that is known; they
    are neither merged nor kept apart.
    """
    other = PATIENTS.alias()
    apart = exists(
        select(1).where(
            CORRECTIONS.c.kind == Kind.DISTINCT.value,
            CORRECTIONS.c.withdrawn_at.is_(None),
            or_(
                and_(CORRECTIONS.c.subject == PATIENTS.c.ref, CORRECTIONS.c.target == other.c.ref),
                and_(CORRECTIONS.c.subject == other.c.ref, CORRECTIONS.c.target == PATIENTS.c.ref),
            ),
        )
    )
    pairs = tx.execute(
        select(PATIENTS.c.ref.label("one"), other.c.ref.label("two"))
        .join(other, other.c.patient_id == PATIENTS.c.patient_id)
        .where(
            PATIENTS.c.issuer.startswith(_UNSTATED, autoescape=True),
            other.c.issuer.not_like(f"{_UNSTATED}%"),
            PATIENTS.c.patient_id != "",
            PATIENTS.c.survivor.is_(None),
            other.c.survivor.is_(None),
            ~apart,
        )
        .order_by(PATIENTS.c.registered_at.desc(), other.c.ref)
        .limit(limit)
    ).all()
    return [(registered(tx, pair.one), registered(tx, pair.two)) for pair in pairs]


def _row(tx: Transaction, ref: str) -> Mapping[Any, Any]:
    row = tx.execute(select(PATIENTS).where(PATIENTS.c.ref == ref)).mappings().first()
    if row is None:
        raise PatientUnknown("no patient has this reference", ref=ref)
    return row


def _patient(row: Mapping[Any, Any]) -> Patient:
    return Patient(
        PatientRef(row["ref"]),
        row["issuer"],
        row["patient_id"],
        row["name"],
        row["sex"],
        row["birth_date"],
    )
