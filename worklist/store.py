"""The rows of the worklist: the only module that speaks SQL to its tables.

Rows are locked without their keys (FOR NO KEY UPDATE), so that inserting a row that refers to a
locked one, such as a wake of a profile, never waits.  SQLite has one writer and locks no rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, insert, literal, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping

from kernel.digest import sha256_of
from kernel.ids import CaseId, OrganisationId, ReaderId, RequestId
from storage import patients
from storage.engine import Transaction
from storage.signs import Sign, due_by
from storage.tables import UtcDateTime
from storage.tables.worklist import (
    ARRIVALS,
    CASE_MOVES,
    CASES,
    COMPETENCES,
    CONFLICTS,
    DESK,
    OFFERS,
    ORGANISATIONS,
    PROFILES,
    READERS,
    REQUESTS,
    WAKES,
)
from worklist.case import ALARMS, OVER, Case, CaseState, StateReason
from worklist.errors import (
    CaseMovedMeanwhile,
    CaseUnknown,
    OrganisationUnknown,
    ProfileUnknown,
    ReaderUnknown,
    RequestUnknown,
)
from worklist.history import CaseMove, Offer
from worklist.match import Study
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.queue import place, rank
from worklist.readers import Competence, Reader
from worklist.request import Form, Payer, Request, RequestState
from worklist.rotation import Seat

_MAX_SHOWN = 64
_CASE_FIELDS = tuple(f.name for f in fields(Case))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskStudy:
    """A complete study that has no case, and why."""

    study_uid: str
    manifest_version: int
    accession: str
    patient_ref: str
    request_id: str | None
    reason: str
    sentence: str
    since: datetime


# Organisations and profiles


def put_organisation(tx: Transaction, organisation: Organisation) -> None:
    """Insert an organisation or bring it up to date."""
    _upsert(tx, ORGANISATIONS, asdict(organisation), key=("id",))


def get_organisation(tx: Transaction, organisation_id: str) -> Organisation:
    """Return an organisation.

    Raises
    ------
    OrganisationUnknown
        No organisation has this id.
    """
    row = _first(tx, select(ORGANISATIONS).where(ORGANISATIONS.c.id == organisation_id))
    if row is None:
        raise OrganisationUnknown(
            f"no organisation has this id: {organisation_id[:_MAX_SHOWN]}",
            organisation_id=organisation_id,
        )
    return _organisation(row)


def list_organisations(tx: Transaction) -> list[Organisation]:
    """Return every organisation by name."""
    rows = tx.execute(select(ORGANISATIONS).order_by(ORGANISATIONS.c.name)).mappings()
    return [_organisation(row) for row in rows]


def put_profile(tx: Transaction, profile: Profile) -> None:
    """Insert a profile or bring its name and rules up to date; turns are kept."""
    takes = [[t.modality, t.body_part, t.default] for t in profile.takes]
    values = {"id": profile.id, "name": profile.name, "takes": takes}
    _upsert(tx, PROFILES, values, key=("id",), once={"last_turn": 0, "look_again_at": None})


def list_profiles(tx: Transaction) -> list[Profile]:
    """Return every profile by id."""
    rows = tx.execute(select(PROFILES).order_by(PROFILES.c.id)).mappings()
    return [_profile(row) for row in rows]


def lock_profile(tx: Transaction, profile: str) -> bool:
    """Take the rotation of a profile for this transaction; False if another has it."""
    query = select(PROFILES.c.id).where(PROFILES.c.id == profile)
    return tx.execute(query.with_for_update(key_share=True, skip_locked=True)).first() is not None


def next_turn(tx: Transaction, profile: str) -> int:
    """Return a new last turn of a profile's list.

    Raises
    ------
    ProfileUnknown
        No profile has this id.
    """
    row = tx.execute(
        update(PROFILES)
        .where(PROFILES.c.id == profile)
        .values(last_turn=PROFILES.c.last_turn + 1)
        .returning(PROFILES.c.last_turn)
    ).first()
    if row is None:
        raise ProfileUnknown("no profile has this id", profile=profile)
    return int(row.last_turn)


# When to look at a profile's queue again


def wake(tx: Transaction, profiles: Iterable[str]) -> None:
    """Ask for a look at the queues of profiles because something changed for them."""
    rows = [{"profile": profile} for profile in profiles]
    if rows:
        tx.execute(insert(WAKES), rows)


def take_wakes(tx: Transaction, profile: str) -> None:
    """Take up what asked for a look; what comes after this asks for another."""
    tx.execute(delete(WAKES).where(WAKES.c.profile == profile))


def look_again(tx: Transaction, profile: str, at: datetime | None) -> None:
    """Note when a profile's queue is to be looked at without being asked."""
    tx.execute(update(PROFILES).where(PROFILES.c.id == profile).values(look_again_at=at))


LOOK_SIGNS = (Sign(lambda _at: select(WAKES.c.profile)), due_by(PROFILES.c.look_again_at))


def profiles_to_look_at(tx: Transaction, at: datetime) -> list[str]:
    """Return the profiles whose queue may move."""
    asked = select(WAKES.c.profile).distinct()
    waiting = select(PROFILES.c.id).where(PROFILES.c.look_again_at <= at)
    return sorted(set(tx.execute(asked).scalars()) | set(tx.execute(waiting).scalars()))


# Consultants


def insert_reader(tx: Transaction, reader: Reader) -> bool:
    """Insert a consultant; False if there is one of this id."""
    values = _reader_values(reader)
    inserted = _insert(tx)(READERS).values(values).on_conflict_do_nothing()
    # Not the row count, which a driver need not tell for an INSERT.
    return tx.execute(inserted.returning(READERS.c.id)).first() is not None


def update_reader(tx: Transaction, reader: Reader) -> None:
    """Write the fields of a consultant; competences are written one by one."""
    tx.execute(update(READERS).where(READERS.c.id == reader.id).values(_reader_values(reader)))


def put_competence(
    tx: Transaction, reader_id: str, competence: Competence, *, turn: int | None
) -> None:
    """Put a consultant on a profile's list, or renew the certificate and keep the turn."""
    values = {**asdict(competence), "reader_id": reader_id, "listed": True}
    _upsert(tx, COMPETENCES, values, key=("profile", "reader_id"), once={"turn": turn or 0})


def unlist(tx: Transaction, reader_id: str, profile: str) -> None:
    """Take a consultant off a list; the turn is kept for a return."""
    tx.execute(update(COMPETENCES).where(_seat(profile, reader_id)).values(listed=False))


def listed_profiles(tx: Transaction, reader_id: str) -> dict[str, bool]:
    """Return every profile on whose list the consultant is (True) or was (False)."""
    rows = tx.execute(
        select(COMPETENCES.c.profile, COMPETENCES.c.listed).where(
            COMPETENCES.c.reader_id == reader_id
        )
    )
    return {row.profile: row.listed for row in rows}


def set_turn(tx: Transaction, profile: str, reader_id: str, turn: int) -> None:
    """Give a consultant a place in the rotation of a profile."""
    tx.execute(update(COMPETENCES).where(_seat(profile, reader_id)).values(turn=turn))


def get_reader(tx: Transaction, reader_id: str) -> Reader:
    """Return a consultant.

    Raises
    ------
    ReaderUnknown
        No consultant has this id.
    """
    found = _readers(tx, select(READERS).where(READERS.c.id == reader_id))
    if not found:
        raise ReaderUnknown("no consultant has this id", reader_id=reader_id)
    return found[0]


def locked_reader(tx: Transaction, reader_id: str) -> Reader:
    """Return a consultant and keep others from changing the row until the end."""
    query = select(READERS).where(READERS.c.id == reader_id).with_for_update(key_share=True)
    found = _readers(tx, query)
    if not found:
        raise ReaderUnknown("no consultant has this id", reader_id=reader_id)
    return found[0]


def list_readers(
    tx: Transaction, *, profile: str | None = None, organisation: str | None = None
) -> list[Reader]:
    """Return consultants by name, of one list or organisation or all."""
    query = select(READERS).order_by(READERS.c.name, READERS.c.id)
    if organisation is not None:
        query = query.where(READERS.c.organisation_id == organisation)
    if profile is not None:
        query = query.where(READERS.c.id.in_(_listed(profile)))
    return _readers(tx, query)


def seats(tx: Transaction, profile: str, *, lock: bool = False) -> list[Seat]:
    """Return the list of a profile in turn; `lock` keeps other profiles from counting with it."""
    query = select(READERS).where(READERS.c.id.in_(_listed(profile))).order_by(READERS.c.id)
    readers = _readers(tx, query.with_for_update(key_share=True) if lock else query)
    turns = {
        row.reader_id: row.turn
        for row in tx.execute(
            select(COMPETENCES.c.reader_id, COMPETENCES.c.turn).where(
                COMPETENCES.c.profile == profile, COMPETENCES.c.listed.is_(True)
            )
        )
    }
    open_cases = _open_cases(tx, turns)
    found = [Seat(r, turns[r.id], open_cases.get(r.id, 0)) for r in readers if r.id in turns]
    return sorted(found, key=lambda seat: seat.turn)


def put_conflict(tx: Transaction, reader_id: str, patient_ref: str, kind: str) -> None:
    """Note that a consultant may not read a patient."""
    values = {"reader_id": reader_id, "patient_ref": patient_ref, "kind": kind}
    _upsert(tx, CONFLICTS, values, key=("patient_ref", "reader_id"))


def in_conflict(tx: Transaction, patient_refs: Iterable[str]) -> dict[str, frozenset[ReaderId]]:
    """Return for each patient the consultants who may not read them.

    A conflict with one of two who were merged is one with both.
    """
    persons = patients.one_with(tx, patient_refs)
    known_as = sorted({ref for refs in persons.values() for ref in refs})
    found: dict[str, set[ReaderId]] = {}
    for row in tx.execute(select(CONFLICTS).where(CONFLICTS.c.patient_ref.in_(known_as))):
        found.setdefault(row.patient_ref, set()).add(ReaderId(row.reader_id))
    return {
        patient: frozenset().union(*(found.get(ref, frozenset()) for ref in refs))
        for patient, refs in persons.items()
    }


# Requests and the desk


def lock_pair(tx: Transaction, *, study_uid: str | None, accession: str) -> None:
    """Let a request and its study be joined by one transaction at a time.

    Both may arrive in the same moment: whoever comes second must see the first.  SQLite has one
    writer anyway; on PostgreSQL the names of the pair are locked, in one order.
    """
    if tx.dialect != "postgresql":
        return
    names = [f"accession {accession}"] if accession else []
    names += [f"study {study_uid}"] if study_uid else []
    for key in sorted(int(sha256_of(name.encode())[:15], 16) for name in names):
        tx.execute(select(func.pg_advisory_xact_lock(key)))


def insert_request(tx: Transaction, request: Request) -> None:
    """Insert a request."""
    tx.execute(insert(REQUESTS).values(asdict(request)))


def save_request(tx: Transaction, request: Request) -> None:
    """Write where a request stands."""
    tx.execute(
        update(REQUESTS)
        .where(REQUESTS.c.id == request.id)
        .values(state=request.state, state_reason=request.state_reason)
    )


def find_request(tx: Transaction, request_id: str, *, lock: bool = False) -> Request | None:
    """Return a request, None if there is none of this id."""
    query = select(REQUESTS).where(REQUESTS.c.id == request_id)
    row = _first(tx, query.with_for_update(key_share=True) if lock else query)
    return None if row is None else _request(row)


def get_request(tx: Transaction, request_id: str) -> Request:
    """Return a request.

    Raises
    ------
    RequestUnknown
        No request has this id.
    """
    request = find_request(tx, request_id)
    if request is None:
        raise RequestUnknown("no request has this id", request_id=request_id)
    return request


def requests_for(tx: Transaction, study: Study) -> list[Request]:
    """Return the requests that name a study or have its accession number, the oldest first."""
    same = [REQUESTS.c.study_uid == study.study_uid]
    if study.accession:
        same.append(REQUESTS.c.accession == study.accession)
    query = select(REQUESTS).where(or_(*same)).order_by(REQUESTS.c.received_at, REQUESTS.c.id)
    return [_request(row) for row in tx.execute(query.with_for_update(key_share=True)).mappings()]


def list_requests(
    tx: Transaction,
    *,
    state: RequestState | None = None,
    organisation: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[Request]:
    """Return requests, the newest first."""
    query = select(REQUESTS).order_by(REQUESTS.c.received_at.desc(), REQUESTS.c.id)
    if state is not None:
        query = query.where(REQUESTS.c.state == state)
    if organisation is not None:
        query = query.where(REQUESTS.c.organisation_id == organisation)
    rows = tx.execute(query.limit(limit).offset(offset)).mappings()
    return [_request(row) for row in rows]


def put_on_desk(tx: Transaction, row: DeskStudy) -> None:
    """Show a study that has no case, with its reason; it waits since it first came."""
    values = asdict(row)
    since = values.pop("since")
    _upsert(tx, DESK, values, key=("study_uid",), once={"since": since})


def take_off_desk(tx: Transaction, study_uid: str) -> None:
    """Take a study off the desk because it has its case."""
    tx.execute(delete(DESK).where(DESK.c.study_uid == study_uid))


def on_desk(tx: Transaction, study_uid: str) -> DeskStudy | None:
    """Return the study if it waits on the desk."""
    row = _first(tx, select(DESK).where(DESK.c.study_uid == study_uid))
    return None if row is None else DeskStudy(**row)


def desk_studies(
    tx: Transaction, *, reason: str | None = None, limit: int = 200
) -> list[DeskStudy]:
    """Return the studies that have no case, the longest waiting first."""
    query = select(DESK).order_by(DESK.c.since, DESK.c.study_uid).limit(limit)
    if reason is not None:
        query = query.where(DESK.c.reason == reason)
    return [DeskStudy(**row) for row in tx.execute(query).mappings()]


def desk_studies_for(tx: Transaction, request: Request) -> list[DeskStudy]:
    """Return the studies on the desk that a request may ask for."""
    same = []
    if request.study_uid is not None:
        same.append(DESK.c.study_uid == request.study_uid)
    elif request.accession:
        same.append(DESK.c.accession == request.accession)
    query = select(DESK).where(or_(*same)).order_by(DESK.c.since, DESK.c.study_uid)
    return [DeskStudy(**row) for row in tx.execute(query).mappings()]


# Cases


def next_arrival(tx: Transaction, request_id: str) -> int:
    """Return the arrival number of a request's case."""
    done = tx.execute(insert(ARRIVALS).values(request_id=request_id))
    key = done.inserted_primary_key
    assert key is not None
    return int(key[0])


def insert_case(tx: Transaction, case: Case) -> None:
    """Insert a case."""
    tx.execute(insert(CASES).values(_case_values(case)))


def save_case(tx: Transaction, before: Case, after: Case) -> None:
    """Write a changed case.

    Raises
    ------
    CaseMovedMeanwhile
        Another transaction changed it after `before` was read.
    """
    if not try_save_case(tx, before, after):
        raise CaseMovedMeanwhile("the case was changed by another transaction", case_id=before.id)


def try_save_case(tx: Transaction, before: Case, after: Case) -> bool:
    """Write a changed case; False if another transaction changed it first."""
    done = tx.execute(
        update(CASES)
        .where(CASES.c.id == before.id, CASES.c.revision == before.revision)
        .values(_case_values(after))
    )
    return done.rowcount == 1


def find_case(tx: Transaction, case_id: str) -> Case | None:
    """Return a case, None if there is none of this id."""
    row = _first(tx, select(CASES).where(CASES.c.id == case_id))
    return None if row is None else _case(row)


def get_case(tx: Transaction, case_id: str) -> Case:
    """Return a case.

    Raises
    ------
    CaseUnknown
        No case has this id.
    """
    case = find_case(tx, case_id)
    if case is None:
        raise CaseUnknown("no case has this id", case_id=case_id)
    return case


def locked_case(tx: Transaction, case_id: str) -> Case:
    """Return a case and keep others from moving it until the transaction ends.

    Raises
    ------
    CaseUnknown
        No case has this id.
    """
    row = _first(tx, select(CASES).where(CASES.c.id == case_id).with_for_update(key_share=True))
    if row is None:
        raise CaseUnknown("no case has this id", case_id=case_id)
    return _case(row)


def queued_case_if_free(tx: Transaction, case_id: str) -> Case | None:
    """Lock a queued case and return it; None if it left the queue or another has it."""
    query = select(CASES).where(
        CASES.c.id == case_id,
        CASES.c.state == CaseState.QUEUED,
        CASES.c.misfiled_by.is_(None),
    )
    row = _first(tx, query.with_for_update(key_share=True, skip_locked=True))
    return None if row is None else _case(row)


def cases_of_request(tx: Transaction, request_id: str) -> list[Case]:
    """Return the case of a request; none while its study is awaited."""
    query = select(CASES).where(CASES.c.request_id == request_id).order_by(CASES.c.id)
    return [_case(row) for row in tx.execute(query).mappings()]


def cases_of_study(tx: Transaction, study_uid: str, *, lock: bool) -> list[Case]:
    """Return the cases of a study; `lock` keeps others from moving them."""
    query = select(CASES).where(CASES.c.study_uid == study_uid).order_by(CASES.c.id)
    query = query.with_for_update(key_share=True) if lock else query
    return [_case(row) for row in tx.execute(query).mappings()]


def open_cases_of(tx: Transaction, patient_refs: Iterable[str]) -> list[Case]:
    """Return the cases of some patients that are not over."""
    query = (
        select(CASES)
        .where(CASES.c.state.not_in(sorted(OVER)), CASES.c.patient_ref.in_(sorted(patient_refs)))
        .order_by(CASES.c.arrival_number)
    )
    return [_case(row) for row in tx.execute(query).mappings()]


def queue(
    tx: Transaction, profile: str, *, after: Case | None = None, limit: int = 50
) -> list[Case]:
    """Return a profile's queue from its head, or from behind a case, in `queue.place` order."""
    order = (CASES.c.queue_rank, CASES.c.due, CASES.c.arrival_number)
    query = (
        select(CASES)
        .where(
            CASES.c.profile == profile,
            CASES.c.state == CaseState.QUEUED,
            CASES.c.misfiled_by.is_(None),
        )
        .order_by(*order)
        .limit(limit)
    )
    if after is not None:
        number, due, arrival = place(after)
        behind = tuple_(literal(number), literal(due, UtcDateTime), literal(arrival))
        query = query.where(tuple_(*order) > behind)
    return [_case(row) for row in tx.execute(query).mappings()]


def list_cases(
    tx: Transaction,
    *,
    state: CaseState | None = None,
    profile: str | None = None,
    reader: str | None = None,
    organisation: str | None = None,
    patient_refs: Collection[str] | None = None,
    alarm: bool = False,
    after: int | None = None,
    limit: int = 100,
) -> list[Case]:
    """Return cases, the newest first.

    Parameters
    ----------
    reader
        Cases that the consultant holds, is offered or has signed.
    organisation
        The requesting organisation.
    patient_refs
        Every reference of whom they are about.
    alarm
        Only cases at which a dispatcher must act.
    after
        The arrival number of the last case of the page before.
    """
    query = select(CASES).order_by(CASES.c.arrival_number.desc()).limit(limit)
    if state is not None:
        query = query.where(CASES.c.state == state)
    if profile is not None:
        query = query.where(CASES.c.profile == profile)
    if organisation is not None:
        query = query.where(CASES.c.site_id == organisation)
    if patient_refs is not None:
        query = query.where(CASES.c.patient_ref.in_(sorted(patient_refs)))
    if reader is not None:
        query = query.where(
            or_(CASES.c.holder == reader, CASES.c.offered_to == reader, CASES.c.signed_by == reader)
        )
    if alarm:
        query = query.where(
            or_(CASES.c.state_reason.in_(sorted(ALARMS)), CASES.c.misfiled_by.is_not(None))
        )
    if after is not None:
        query = query.where(CASES.c.arrival_number < after)
    return [_case(row) for row in tx.execute(query).mappings()]


def count_cases(tx: Transaction) -> dict[CaseState, int]:
    """Return how many cases are in each state."""
    rows = tx.execute(select(CASES.c.state, func.count().label("n")).group_by(CASES.c.state))
    return {CaseState(row.state): row.n for row in rows}


def case_ids_awaiting_triage(tx: Transaction, opened_before: datetime, limit: int) -> list[str]:
    """Return the cases that wait for their triage since before a moment."""
    return list(
        tx.execute(
            select(CASES.c.id)
            .where(CASES.c.state == CaseState.RECEIVED, CASES.c.opened_at <= opened_before)
            .order_by(CASES.c.opened_at)
            .limit(limit)
        ).scalars()
    )


def awaiting_triage(age: timedelta) -> Sign:
    """Return the sign of a case that waits for its triage for so long."""
    state = CASES.c.state == CaseState.RECEIVED
    return Sign(lambda at: select(1).where(state, CASES.c.opened_at <= at), age)


RUNNING_OUT_SIGNS = (
    Sign(
        lambda at: select(1).where(CASES.c.state == CaseState.OFFERED, CASES.c.offered_until <= at)
    ),
    Sign(lambda at: select(1).where(CASES.c.state == CaseState.READING, CASES.c.held_until <= at)),
)


def case_ids_running_out(tx: Transaction, at: datetime, limit: int) -> list[str]:
    """Return the cases whose offer or lease has run out."""
    offers = select(CASES.c.id).where(
        CASES.c.state == CaseState.OFFERED, CASES.c.offered_until <= at
    )
    leases = select(CASES.c.id).where(CASES.c.state == CaseState.READING, CASES.c.held_until <= at)
    return [id for query in (offers, leases) for id in tx.execute(query.limit(limit)).scalars()]


# Moves and offers


def add_move(tx: Transaction, move: CaseMove) -> None:
    """Add a move to the history of its case."""
    tx.execute(insert(CASE_MOVES).values(asdict(move)))


def case_history(tx: Transaction, case_id: str) -> list[CaseMove]:
    """Return the moves of a case in order."""
    query = (
        select(CASE_MOVES).where(CASE_MOVES.c.case_id == case_id).order_by(CASE_MOVES.c.revision)
    )
    return [_move(row) for row in tx.execute(query).mappings()]


def open_offer(tx: Transaction, offer: Offer) -> None:
    """Note an offer; a case has one open offer at most."""
    tx.execute(insert(OFFERS).values(asdict(offer)))


def end_offer(tx: Transaction, case_id: str, outcome: str, reason: str = "") -> Offer | None:
    """End the open offer of a case and return it as it was."""
    still_open = (OFFERS.c.case_id == case_id) & OFFERS.c.ended_at.is_(None)
    row = _first(tx, select(OFFERS).where(still_open))
    if row is None:
        return None
    tx.execute(
        update(OFFERS)
        .where(OFFERS.c.id == row["id"])
        .values(ended_at=tx.at, outcome=outcome, reason=reason)
    )
    return Offer(**row)


def offers_of(tx: Transaction, case_id: str) -> list[Offer]:
    """Return every offer of a case in order."""
    query = select(OFFERS).where(OFFERS.c.case_id == case_id).order_by(OFFERS.c.revision)
    return [Offer(**row) for row in tx.execute(query).mappings()]


def declined(tx: Transaction, cases: Sequence[Case]) -> dict[str, frozenset[ReaderId]]:
    """Return for each case who declined it in the present round of asking."""
    asking = {case.id: case.asking for case in cases}
    query = select(OFFERS.c.case_id, OFFERS.c.reader_id, OFFERS.c.asking).where(
        OFFERS.c.case_id.in_(asking), OFFERS.c.outcome == "declined"
    )
    found: dict[str, set[ReaderId]] = {}
    for row in tx.execute(query):
        if row.asking == asking[row.case_id]:
            found.setdefault(row.case_id, set()).add(ReaderId(row.reader_id))
    return {case_id: frozenset(readers) for case_id, readers in found.items()}


# Rows and values


def _insert(tx: Transaction) -> Any:
    return sqlite.insert if tx.dialect == "sqlite" else postgresql.insert


def _upsert(
    tx: Transaction,
    table: Any,
    values: Mapping[str, Any],
    *,
    key: tuple[str, ...],
    once: Mapping[str, Any] | None = None,
) -> None:
    statement = _insert(tx)(table).values({**(once or {}), **values})
    changed = {name: value for name, value in values.items() if name not in key}
    tx.execute(statement.on_conflict_do_update(index_elements=list(key), set_=changed))


def _first(tx: Transaction, query: Select[Any]) -> RowMapping | None:
    return tx.execute(query).mappings().first()


def _seat(profile: str, reader_id: str) -> Any:
    return (COMPETENCES.c.profile == profile) & (COMPETENCES.c.reader_id == reader_id)


def _listed(profile: str) -> Select[Any]:
    return select(COMPETENCES.c.reader_id).where(
        COMPETENCES.c.profile == profile, COMPETENCES.c.listed.is_(True)
    )


def _open_cases(tx: Transaction, reader_ids: Iterable[str]) -> dict[str, int]:
    ids = list(reader_ids)
    counts: dict[str, int] = {}
    for column in (CASES.c.holder, CASES.c.offered_to):
        query = select(column.label("reader_id"), func.count().label("n"))
        for row in tx.execute(query.where(column.in_(ids)).group_by(column)):
            counts[row.reader_id] = counts.get(row.reader_id, 0) + row.n
    return counts


def _readers(tx: Transaction, query: Select[Any]) -> list[Reader]:
    rows = list(tx.execute(query).mappings())
    lists: dict[str, list[Competence]] = {row["id"]: [] for row in rows}
    competences = (
        select(COMPETENCES)
        .where(COMPETENCES.c.reader_id.in_(lists), COMPETENCES.c.listed.is_(True))
        .order_by(COMPETENCES.c.profile)
    )
    for row in tx.execute(competences):
        lists[row.reader_id].append(Competence(row.profile, row.valid_from, row.valid_until))
    return [Reader(**{**row, "competences": tuple(lists[row["id"]])}) for row in rows]


def _reader_values(reader: Reader) -> dict[str, Any]:
    values = asdict(reader)
    del values["competences"]
    return values


def _organisation(row: RowMapping) -> Organisation:
    return Organisation(
        OrganisationId(row["id"]), row["name"], OrganisationKind(row["kind"]), row["zone"]
    )


def _profile(row: RowMapping) -> Profile:
    return Profile(row["id"], row["name"], tuple(Takes(*take) for take in row["takes"]))


def _request(row: RowMapping) -> Request:
    typed = {
        "id": RequestId(row["id"]),
        "form": Form(row["form"]),
        "payer": row["payer"] and Payer(row["payer"]),
        "state": RequestState(row["state"]),
    }
    return Request(**{**row, **typed})


def _case(row: RowMapping) -> Case:
    typed = {
        "id": CaseId(row["id"]),
        "form": Form(row["form"]),
        "state": CaseState(row["state"]),
        "state_reason": StateReason(row["state_reason"]),
    }
    return Case(**{**{name: row[name] for name in _CASE_FIELDS}, **typed})


def _case_values(case: Case) -> dict[str, Any]:
    return {**asdict(case), "queue_rank": rank(case.form)}


def _move(row: RowMapping) -> CaseMove:
    typed = {
        "source": row["source"] and CaseState(row["source"]),
        "target": CaseState(row["target"]),
    }
    return CaseMove(**{**row, **typed})
