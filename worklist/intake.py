"""Commands of the desk: lists, requests, and the joining of a request with its study."""

from dataclasses import replace
from datetime import datetime

from kernel.facts import Fact
from kernel.ids import UNIDENTIFIED, PatientRef, RequestId, StudyUID
from storage import archive, hidden, outbox, patients, priors
from storage.archive import Manifest, StudyUnknown
from storage.engine import Transaction
from worklist import case as moves
from worklist import store, trail
from worklist.act import Act
from worklist.case import UNREAD, Case, CaseState
from worklist.clock import clocks, due_at
from worklist.errors import (
    PatientsDiffer,
    RequestClosed,
    RequestContradicts,
    StudyNotOnDesk,
    StudyNotRouted,
)
from worklist.match import (
    SENTENCES,
    DeskReason,
    Study,
    Unmatched,
    match,
    may_be_same_patient,
)
from worklist.organisation import Organisation
from worklist.profile import NotRouted, Profile, Routed, route
from worklist.readers import Reader
from worklist.request import NewRequest, Request, RequestState, receive
from worklist.settings import WorklistSettings
from worklist.store import DeskStudy


def add_organisation(tx: Transaction, organisation: Organisation, *, act: Act) -> None:
    """Enter an organisation, or bring it up to date."""
    store.put_organisation(tx, organisation)
    trail.note(tx, act, "organisation.set", organisation.id, kind=organisation.kind.value)


def add_profile(tx: Transaction, profile: Profile, *, settings: WorklistSettings, act: Act) -> None:
    """Enter a profile, or bring its rules up to date; studies that no profile took try again."""
    store.put_profile(tx, profile)
    trail.note(tx, act, "profile.set", profile.id)
    for row in store.desk_studies(tx, reason=DeskReason.NOT_ROUTED):
        open_case(tx, row.study_uid, settings=settings, act=act)


def add_reader(tx: Transaction, reader: Reader, *, act: Act) -> None:
    """Enter a consultant, or bring name, limits and lists up to date.

    A newcomer to a list joins at its tail; who returns keeps the old place, without a catch-up.
    Presence is set by `set_presence` once the consultant is entered.
    """
    known = set() if store.insert_reader(tx, reader) else set(store.listed_profiles(tx, reader.id))
    turns = {p: store.next_turn(tx, p) for p in sorted(set(reader.profiles) - known)}
    present = store.locked_reader(tx, reader.id)
    store.update_reader(
        tx,
        replace(
            reader,
            present=present.present,
            present_until=present.present_until,
            unanswered=present.unanswered,
        ),
    )
    for competence in reader.competences:
        store.put_competence(tx, reader.id, competence, turn=turns.get(competence.profile))
    for profile in known - set(reader.profiles):
        store.unlist(tx, reader.id, profile)
    store.wake(tx, sorted(known | set(reader.profiles)))
    trail.note(tx, act, "reader.set", reader.id, profiles=list(reader.profiles))


def set_presence(
    tx: Transaction, reader_id: str, *, present: bool, until: datetime | None = None, act: Act
) -> Reader:
    """Note that a consultant is there, until the end of the shift, or is not."""
    before = store.locked_reader(tx, reader_id)
    after = replace(before, present=present, present_until=until if present else None, unanswered=0)
    if after != before:
        store.update_reader(tx, after)
        store.wake(tx, after.profiles)
        trail.note(tx, act, "reader.present" if present else "reader.absent", reader_id)
    return after


def add_conflict(
    tx: Transaction, reader_id: str, patient_ref: PatientRef, *, kind: str, act: Act
) -> None:
    """Note that a consultant may not read a patient: treating doctor, relative, other."""
    store.put_conflict(tx, reader_id, patient_ref, kind)
    trail.note(tx, act, "reader.conflict", reader_id, patient=patient_ref, kind=kind)


def add_request(tx: Transaction, new: NewRequest, *, act: Act) -> Request:
    """Take a request in; the same request again is the same answer.

    Raises
    ------
    RequestContradicts
        The accession was requested before with other content.
    RequestIncomplete
        It lacks what it takes to find its study again.
    OrganisationUnknown, ReaderUnknown
        It names a site or a consultant that does not exist.
    """
    request, fact = receive(new, act=act)
    store.get_organisation(tx, new.organisation_id)
    if new.named_reader is not None:
        store.get_reader(tx, new.named_reader)
    store.lock_pair(tx, study_uid=new.study_uid, accession=new.accession)
    known = store.find_request(tx, request.id)
    if known is not None:
        return _same(known, new)
    store.insert_request(tx, request)
    trail.note(tx, act, "request.received", request.id, site=request.organisation_id)
    outbox.append(tx, fact)
    return request


def join_request(tx: Transaction, request_id: str, *, settings: WorklistSettings, act: Act) -> None:
    """Open the case of a request if its study is here already; else the request waits."""
    request = store.get_request(tx, request_id)
    store.lock_pair(tx, study_uid=request.study_uid, accession=request.accession)
    waiting = {row.study_uid for row in store.desk_studies_for(tx, request)}
    named = {request.study_uid} if request.study_uid is not None else set()
    if request.study_uid is None:
        named |= {StudyUID(uid) for uid in priors.with_accession(tx, request.accession)}
    for study_uid in sorted(waiting | named):
        try:
            open_case(tx, study_uid, settings=settings, act=act)
        except StudyUnknown:
            continue  # its study has not arrived: the request is visible and waits


def open_case(
    tx: Transaction, study_uid: str, *, settings: WorklistSettings, act: Act
) -> list[Case]:
    """Open the case of a complete study, or show the study on the desk with the reason.

    There is one case for each open request that names the study, or one for the request with its
    accession number and patient.  A study that was withdrawn is as if it had never come, and one
    that was fetched as a prior waits for nobody unless a request asks for it.

    Raises
    ------
    StudyUnknown
        The study is not complete: it has no manifest.
    """
    manifest = archive.manifest(tx, study_uid)
    store.lock_pair(tx, study_uid=study_uid, accession=manifest.accession)
    if not hidden.is_shown(tx, study_uid):
        store.take_off_desk(tx, study_uid)
        return []
    study = _study(tx, manifest)
    found = match(study, store.requests_for(tx, study))
    if isinstance(found, Unmatched):
        cases = store.cases_of_study(tx, study_uid, lock=False)
        if found.reason is DeskReason.NO_REQUEST and priors.is_prior(tx, study_uid):
            store.take_off_desk(tx, study_uid)
        elif all(case.misfiled_by is not None for case in cases):
            _to_desk(tx, manifest, found.reason, found.sentence, found.request_id, act)
        return []
    opened = [_open(tx, manifest, request, settings, act) for request in found.requests]
    return [case for case in opened if case is not None]


def attach(
    tx: Transaction,
    study_uid: str,
    request_id: str,
    *,
    same_person: bool = False,
    settings: WorklistSettings,
    act: Act,
) -> Case:
    """Join a study on the desk with a request because a person decided so.

    Raises
    ------
    StudyNotOnDesk
        The study does not wait on the desk.
    RequestClosed
        The request is cancelled or has its case.
    PatientsDiffer
        The two name different patients and `same_person` does not vouch for them.
    StudyNotRouted
        No profile takes the study.
    """
    if store.on_desk(tx, study_uid) is None:
        raise StudyNotOnDesk("the study does not wait on the desk", study_uid=study_uid)
    manifest = archive.manifest(tx, study_uid)
    store.lock_pair(tx, study_uid=study_uid, accession=manifest.accession)
    if not hidden.is_shown(tx, study_uid):
        raise StudyNotOnDesk("the study was withdrawn", study_uid=study_uid)
    request = store.find_request(tx, request_id, lock=True) or store.get_request(tx, request_id)
    if request.state is not RequestState.RECEIVED:
        raise RequestClosed(f"the request is {request.state}", request_id=request_id)
    if not same_person and not may_be_same_patient(_study(tx, manifest), request):
        raise PatientsDiffer("the study and the request name different patients")
    subject = f"study:{study_uid}"
    trail.note(tx, act, "study.attached", subject, request=request_id, vouched=same_person)
    case = _open(tx, manifest, request, settings, act)
    if case is None:
        raise StudyNotRouted("no profile takes the study", study_uid=study_uid)
    return case


def amend(
    tx: Transaction, study_uid: str, version: int, *, settings: WorklistSettings, act: Act
) -> None:
    """Note further images of a study on its cases; a study on the desk is tried again.

    Where all of its cases were called off nobody reads them: another request gets the study, or
    it goes to the desk.
    """
    cases = store.cases_of_study(tx, study_uid, lock=True)
    living = [case for case in cases if case.state is not CaseState.CANCELLED]
    for before in living:
        after = moves.amend(before, version)
        if after != before:
            store.save_case(tx, before, after)
            late = after.late_version is not None
            trail.note(tx, act, "case.amended", after.id, after, manifest=version, late=late)
    if living or open_case(tx, study_uid, settings=settings, act=act) or not cases:
        return
    if hidden.is_shown(tx, study_uid) and store.on_desk(tx, study_uid) is None:
        reason = DeskReason.REQUEST_CANCELLED
        manifest, called_off = archive.manifest(tx, study_uid), cases[0].request_id
        _to_desk(tx, manifest, reason, SENTENCES[reason], called_off, act)


def reconsider(tx: Transaction, study_uid: str, *, settings: WorklistSettings, act: Act) -> None:
    """Take a study off the desk that was withdrawn; put it back there if it was restored."""
    try:
        if not hidden.is_shown(tx, study_uid):
            store.take_off_desk(tx, study_uid)
        elif not store.cases_of_study(tx, study_uid, lock=False):
            open_case(tx, study_uid, settings=settings, act=act)
    except StudyUnknown:
        return  # it is not complete: nothing of it is on the desk


def correct(
    tx: Transaction,
    study_uid: str,
    correction: int,
    *,
    of_patient: bool,
    settings: WorklistSettings,
    act: Act,
) -> None:
    """Note a correction of a study on its cases; it may now belong to another request.

    A study that is not complete yet has no case: it is matched as it is shown when it is.

    Parameters
    ----------
    of_patient
        Whether the study is another patient's than before.  Where it is not, nobody doubts what
        somebody vouched for (`attach`).
    """
    try:
        manifest = archive.manifest(tx, study_uid)
    except StudyUnknown:
        return
    for before in store.cases_of_study(tx, study_uid, lock=True):
        ref = _patient_of(tx, before, manifest)
        by = before.misfiled_by
        if of_patient:
            same = manifest.patient_ref in patients.same_person(tx, ref)
            by = None if same else correction
        after = moves.correct(before, correction, patient_ref=ref, misfiled_by=by)
        if after != before:
            store.save_case(tx, before, after)
            detail = {"correction": correction, "misfiled": by is not None}
            trail.note(tx, act, "case.corrected", after.id, after, **detail)
    open_case(tx, study_uid, settings=settings, act=act)


def patient_of(tx: Transaction, case: Case) -> PatientRef | None:
    """Return whose case it is as its study is shown now; None where that is another patient's."""
    manifest = archive.manifest(tx, case.study_uid)
    ref = _patient_of(tx, case, manifest)
    return ref if manifest.patient_ref in patients.same_person(tx, ref) else None


def _patient_of(tx: Transaction, case: Case, manifest: Manifest) -> PatientRef:
    """Return whose case it is: that follows its study where the request names nobody.

    Once somebody reads it, it does no more: what was written is about the patient it had.
    """
    if case.state in UNREAD and not store.get_request(tx, case.request_id).patient_ref:
        return manifest.patient_ref
    return case.patient_ref


def _same(known: Request, new: NewRequest) -> Request:
    if known.digest != new.digest:
        raise RequestContradicts(
            "this accession was requested before with other content", request_id=known.id
        )
    return known


def _study(tx: Transaction, manifest: Manifest) -> Study:
    ref = manifest.patient_ref
    unidentified = patients.get(tx, ref).issuer == UNIDENTIFIED
    may_be = frozenset[PatientRef]() if unidentified else patients.same_person(tx, ref)
    return Study(manifest.study_uid, manifest.accession, may_be)


def _open(
    tx: Transaction, manifest: Manifest, request: Request, settings: WorklistSettings, act: Act
) -> Case | None:
    routed = route(manifest, request, store.list_profiles(tx))
    if isinstance(routed, NotRouted):
        _to_desk(tx, manifest, DeskReason.NOT_ROUTED, routed.sentence, request.id, act)
        return None
    case, fact = _case_of(tx, manifest, request, routed, settings, act)
    store.insert_case(tx, case)
    store.save_request(tx, replace(request, state=RequestState.MATCHED, state_reason="case_opened"))
    store.take_off_desk(tx, manifest.study_uid)
    trail.document(
        tx, None, case, fact, action="case.opened", act=act, detail={"rule": routed.rule}
    )
    return case


def _case_of(
    tx: Transaction,
    manifest: Manifest,
    request: Request,
    routed: Routed,
    settings: WorklistSettings,
    act: Act,
) -> tuple[Case, Fact]:
    both = clocks(
        request_received=request.received_at,
        documents_received=manifest.last_received_at,
        rule=settings.clock_rule,
    )
    return moves.open_case(
        request,
        study_uid=manifest.study_uid,
        manifest_version=manifest.version,
        patient_ref=request.patient_ref or manifest.patient_ref,
        profile=routed.profile,
        modality=routed.modality,
        clocks=both,
        due=due_at(both.legal_start, request.form, settings.targets),
        arrival_number=store.next_arrival(tx, request.id),
        act=act,
    )


def _to_desk(
    tx: Transaction,
    manifest: Manifest,
    reason: DeskReason,
    sentence: str,
    request_id: RequestId | None,
    act: Act,
) -> None:
    row = DeskStudy(
        study_uid=manifest.study_uid,
        manifest_version=manifest.version,
        accession=manifest.accession,
        patient_ref=manifest.patient_ref,
        request_id=request_id,
        reason=reason,
        sentence=sentence,
        since=act.at,
    )
    before = store.on_desk(tx, manifest.study_uid)
    store.put_on_desk(tx, row)
    if before is None or (before.reason, before.request_id) != (reason, request_id):
        trail.note(tx, act, "study.on_desk", f"study:{manifest.study_uid}", reason=reason.value)
