"""Corrections made and withdrawn, and brought into the index that queries read.

The rows of studies and patients hold what is shown now; what was received stays beside it.  Both
are derived anew from the corrections in force whenever one is made or withdrawn, so that history
is kept and nothing depends on the order in which people changed their minds.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import func, insert, null, or_, select, text, update

from kernel.facts import PatientsMerged, StudyCorrected
from kernel.people import Actor
from storage import audit, kept_aside, outbox, patient_names
from storage.archive import StudyUnknown
from storage.correction import (
    DEMOGRAPHICS,
    Correction,
    CorrectionRefused,
    CorrectionUnknown,
    Identity,
    Kind,
    check_merge,
    checked_reason,
    demographics,
    identity,
    merges,
    survivor,
)
from storage.engine import Transaction
from storage.patients import as_text, get, registered, stands_for
from storage.tables.archive import INSTANCE_PATIENTS, STUDIES
from storage.tables.corrections import CORRECTIONS
from storage.tables.patients import PATIENTS

_LIMITS = {"name": 400, "sex": 16, "birth_date": 10}
_MAX_ACCESSION = 16


def merge(tx: Transaction, subject: str, target: str, *, reason: str, actor: Actor) -> Correction:
    """Say that a patient is the same person as another, under whose identity all is shown.

    Raises
    ------
    MergeCycle, CorrectionRefused, PatientUnknown
        One of the two does not exist, is merged already, or would be merged into itself.
    """
    hold(tx)
    for ref in (subject, target):
        registered(tx, ref)
    check_merge(merges(_merges(tx)), subject, target)
    made = _made(tx, Kind.MERGE, subject, target, reason=reason, actor=actor)
    outbox.append(
        tx,
        PatientsMerged(
            subject=subject,
            at=tx.at,
            actor=actor.ref,
            patient_ref=subject,
            survivor=stands_for(tx, subject),
            correction=made.number,
        ),
    )
    return made


def keep_apart(
    tx: Transaction, subject: str, target: str, *, reason: str, actor: Actor
) -> Correction:
    """Say that two patients with the same id are two persons, so that nobody asks again.

    Raises
    ------
    CorrectionRefused, PatientUnknown
        One does not exist, or they are one by a merge.
    """
    hold(tx)
    if get(tx, subject).ref == get(tx, target).ref:
        raise CorrectionRefused("the two are one patient: withdraw the merge first")
    return _made(tx, Kind.DISTINCT, subject, target, reason=reason, actor=actor)


def correct_patient(
    tx: Transaction, ref: str, values: Mapping[str, str], *, reason: str, actor: Actor
) -> Correction:
    """Say what name, sex or birth date (ISO 8601) of a patient are.

    Raises
    ------
    CorrectionRefused, PatientUnknown
        A value cannot be one, or another patient stands for this one.
    """
    hold(tx)
    if get(tx, ref).ref != ref:
        raise CorrectionRefused("the patient is merged into another: correct that one")
    said = _checked(values)
    return _made(tx, Kind.DEMOGRAPHICS, ref, "", said, reason=reason, actor=actor)


def move_study(
    tx: Transaction, study_uid: str, patient_ref: str, *, reason: str, actor: Actor
) -> Correction:
    """Say that a study was made of another patient than its sender said.

    Raises
    ------
    StudyUnknown, PatientUnknown
        There is no such study or patient.
    CorrectionRefused
        It is that patient's already.
    """
    hold(tx)
    held = _study(tx, study_uid)
    if get(tx, patient_ref).ref == held["patient_ref"]:
        raise CorrectionRefused("the study is this patient's already")
    return _made(tx, Kind.STUDY_PATIENT, study_uid, patient_ref, reason=reason, actor=actor)


def renumber_study(
    tx: Transaction, study_uid: str, accession: str, *, reason: str, actor: Actor
) -> Correction:
    """Say what accession number a study has.

    Raises
    ------
    StudyUnknown, CorrectionRefused
        There is no such study, or the number cannot be one (PS3.5 table 6.2-1, SH).
    """
    hold(tx)
    accession = accession.strip()
    if len(accession) > _MAX_ACCESSION or not accession.isprintable() or "\\" in accession:
        raise CorrectionRefused(f"an accession number has at most {_MAX_ACCESSION} characters")
    if _study(tx, study_uid)["accession"] == accession:
        raise CorrectionRefused("the study has this accession number already")
    return _made(tx, Kind.STUDY_ACCESSION, study_uid, accession, reason=reason, actor=actor)


def withdraw(tx: Transaction, number: int, *, reason: str, actor: Actor) -> Correction:
    """Take a correction back; that it was made, and why, stays on record.

    Raises
    ------
    CorrectionUnknown
        There is none of this number.
    CorrectionRefused
        It is withdrawn already.
    """
    hold(tx)
    reason = checked_reason(reason)
    found = _where(tx, CORRECTIONS.c.number == number)
    if not found:
        raise CorrectionUnknown("no correction has this number", number=number)
    if not found[0].in_force:
        raise CorrectionRefused("the correction is withdrawn already")
    tx.execute(
        update(CORRECTIONS)
        .where(CORRECTIONS.c.number == number)
        .values(withdrawn_at=tx.at, withdrawn_by=actor.ref, withdrawn_reason=reason)
    )
    _bring_in(tx, found[0], actor)
    _note(tx, "correction.withdrawn", found[0], actor)
    return _where(tx, CORRECTIONS.c.number == number)[0]


def listed(tx: Transaction, *, subject: str = "", limit: int = 200) -> list[Correction]:
    """Return corrections, those withdrawn among them, the newest first."""
    query = select(CORRECTIONS).order_by(CORRECTIONS.c.number.desc()).limit(limit)
    if subject:
        query = query.where(or_(CORRECTIONS.c.subject == subject, CORRECTIONS.c.target == subject))
    return [_correction(row) for row in tx.execute(query).mappings()]


def of_subjects(tx: Transaction, subjects: Sequence[str]) -> list[Correction]:
    """Return the corrections of some patients or studies, those withdrawn among them."""
    return _where(tx, CORRECTIONS.c.subject.in_(subjects))


def _made(
    tx: Transaction,
    kind: Kind,
    subject: str,
    target: str,
    values: Mapping[str, str] | None = None,
    *,
    reason: str,
    actor: Actor,
) -> Correction:
    done = tx.execute(
        insert(CORRECTIONS).values(
            kind=kind.value,
            subject=subject,
            target=target,
            values=dict(values or {}),
            reason=checked_reason(reason),
            actor=actor.ref,
            made_at=tx.at,
        )
    )
    key = done.inserted_primary_key
    assert key is not None
    made = _where(tx, CORRECTIONS.c.number == int(key[0]))[0]
    _bring_in(tx, made, actor)
    _note(tx, "correction.made", made, actor)
    return made


def _note(tx: Transaction, action: str, correction: Correction, actor: Actor) -> None:
    audit.record(
        tx,
        actor=actor,
        action=action,
        subject=f"correction:{correction.number}",
        detail={
            "kind": correction.kind.value,
            "of": correction.subject,
            "values": sorted(correction.values),
        },
    )


def _bring_in(tx: Transaction, changed: Correction, actor: Actor) -> None:
    """Derive again what one correction, made or withdrawn, touches."""
    touched: Iterable[str]
    refs = {changed.subject}
    match changed.kind:
        case Kind.MERGE:
            refs = _merge(tx, changed.subject)
            touched = _studies_of(tx, refs)
            kept_aside.look_again(tx, refs, touched)
        case Kind.DEMOGRAPHICS:
            touched = _describe(tx, changed.subject)
        case Kind.DISTINCT:
            kept_aside.look_again(tx, {changed.subject, changed.target}, ())
            return
        case _:
            touched = [changed.subject]
            kept_aside.look_again(tx, (), touched)
    merged = merges(_merges(tx))
    told = {each for each in sorted(touched) if _derive(tx, each, merged, changed, actor)}
    for study_uid in sorted(_naming(tx, refs) - told):
        _tell(tx, study_uid, ["images"], changed, actor)


def _naming(tx: Transaction, refs: Iterable[str]) -> set[str]:
    """Return the studies of others in which images name some patients."""
    found = select(INSTANCE_PATIENTS.c.study_uid).where(INSTANCE_PATIENTS.c.patient_ref.in_(refs))
    return set(tx.execute(found.distinct()).scalars())


def _merge(tx: Transaction, ref: str) -> set[str]:
    """Set who stands for a patient and those merged into it; return all of these."""
    merged = merges(_merges(tx))
    refs = {ref} | {each for each in merged if _leads_to(merged, each, ref)}
    for each in sorted(refs):
        stands = survivor(merged, each)
        tx.execute(
            update(PATIENTS)
            .where(PATIENTS.c.ref == each)
            .values(survivor=None if stands == each else stands)
        )
    return refs


def _leads_to(merged: Mapping[str, str], ref: str, to: str) -> bool:
    while ref in merged:
        ref = merged[ref]
        if ref == to:
            return True
    return False


def _studies_of(tx: Transaction, refs: Iterable[str]) -> set[str]:
    wanted = list(refs)
    received = func.coalesce(STUDIES.c.received_patient_ref, STUDIES.c.patient_ref)
    sent = tx.execute(
        select(STUDIES.c.study_uid).where(
            or_(STUDIES.c.patient_ref.in_(wanted), STUDIES.c.received_patient_ref.in_(wanted)),
            received.in_(wanted),
        )
    ).scalars()
    moved = _where(tx, CORRECTIONS.c.target.in_(wanted))
    return set(sent) | {
        each.subject for each in moved if each.in_force and each.kind is Kind.STUDY_PATIENT
    }


def _describe(tx: Transaction, ref: str) -> Iterable[str]:
    """Set the demographics of a patient; return the studies that show them."""
    row = tx.execute(select(PATIENTS).where(PATIENTS.c.ref == ref)).mappings().one()
    first = row["registered"] or {name: as_text(row[name]) for name in DEMOGRAPHICS}
    said = demographics(ref, _where(tx, CORRECTIONS.c.subject == ref))
    right = first | said
    tx.execute(
        update(PATIENTS)
        .where(PATIENTS.c.ref == ref)
        .values(
            name=right["name"],
            sex=right["sex"],
            birth_date=date.fromisoformat(right["birth_date"]) if right["birth_date"] else None,
            registered=first if said else null(),
        )
    )
    patient_names.replace(tx, ref, right["name"])
    shown_as = select(STUDIES.c.study_uid).where(STUDIES.c.patient_ref == ref)
    return list(tx.execute(shown_as).scalars())


def _derive(
    tx: Transaction,
    study_uid: str,
    merged: Mapping[str, str],
    changed: Correction,
    actor: Actor,
) -> bool:
    """Derive again how a study is shown; say whether that is another way than before."""
    row = _study(tx, study_uid)
    received = Identity(
        row["received_patient_ref"] or row["patient_ref"],
        row["accession"] if row["received_accession"] is None else row["received_accession"],
    )
    now = identity(study_uid, received, _where(tx, CORRECTIONS.c.subject == study_uid), merged)
    described = registered_as(tx, now.patient_ref) is not None
    tx.execute(
        update(STUDIES)
        .where(STUDIES.c.study_uid == study_uid)
        .values(
            patient_ref=now.patient_ref,
            accession=now.accession,
            received_patient_ref=received.patient_ref,
            received_accession=received.accession,
            corrected_at=tx.at if now != received or described else None,
        )
    )
    what = _what(now, Identity(row["patient_ref"], row["accession"]), changed)
    if what:
        _tell(tx, study_uid, what, changed, actor)
    return bool(what)


def _what(now: Identity, before: Identity, changed: Correction) -> list[str]:
    said = (
        ("patient", now.patient_ref != before.patient_ref),
        ("accession", now.accession != before.accession),
        ("demographics", changed.kind is Kind.DEMOGRAPHICS),
    )
    return [name for name, differs in said if differs]


def _tell(
    tx: Transaction, study_uid: str, what: list[str], changed: Correction, actor: Actor
) -> None:
    outbox.append(
        tx,
        StudyCorrected(
            subject=study_uid,
            at=tx.at,
            actor=actor.ref,
            study_uid=study_uid,
            correction=changed.number,
            what=what,
            same_person=changed.kind is not Kind.STUDY_PATIENT,
        ),
    )


def registered_as(tx: Transaction, ref: str) -> Mapping[str, str] | None:
    """Return the demographics as they first came; None if they were not corrected."""
    found: Mapping[str, str] | None = tx.execute(
        select(PATIENTS.c.registered).where(PATIENTS.c.ref == ref)
    ).scalar()
    return found


def hold(tx: Transaction) -> None:
    """Hold corrections off until the transaction ends; SQLite has one writer anyway."""
    if tx.dialect == "postgresql":
        tx.execute(text("LOCK TABLE corrections IN SHARE ROW EXCLUSIVE MODE"))


def _study(tx: Transaction, study_uid: str) -> Mapping[str, Any]:
    """Lock a study as an update does: instances that point to it may come meanwhile.

    Several are locked here one after the other, as their keys are ordered; instances come in the
    order of their own keys.
    """
    wanted = select(STUDIES).where(STUDIES.c.study_uid == study_uid)
    row = tx.execute(wanted.with_for_update(key_share=True)).mappings().first()
    if row is None:
        raise StudyUnknown("no instance of this study was ever admitted", study_uid=study_uid)
    return dict(row)


def _merges(tx: Transaction) -> list[Correction]:
    return _where(tx, CORRECTIONS.c.kind == Kind.MERGE.value, CORRECTIONS.c.withdrawn_at.is_(None))


def _where(tx: Transaction, *conditions: Any) -> list[Correction]:
    found = tx.execute(select(CORRECTIONS).where(*conditions).order_by(CORRECTIONS.c.number))
    return [_correction(row) for row in found.mappings()]


def _correction(row: Mapping[Any, Any]) -> Correction:
    values = {name: row[name] for name in Correction.__dataclass_fields__}
    return Correction(**{**values, "kind": Kind(row["kind"])})


def _checked(values: Mapping[str, str]) -> dict[str, str]:
    said = {name: value.strip() for name, value in values.items()}
    if not said or not set(said) <= set(DEMOGRAPHICS):
        raise CorrectionRefused(f"of a patient {', '.join(DEMOGRAPHICS)} can be corrected")
    for name, value in said.items():
        if len(value) > _LIMITS[name] or not value.isprintable() or "\\" in value:
            raise CorrectionRefused(f"the {name} is too long or has characters that cannot be")
    if said.get("birth_date"):
        _date(said["birth_date"])
    return said


def _date(told: str) -> date:
    try:
        return date.fromisoformat(told)
    except ValueError as error:
        raise CorrectionRefused("a birth date is written as YYYY-MM-DD") from error
