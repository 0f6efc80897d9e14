"""Rows of priors at peers: searches that were asked for, and the studies that they found.

A search belongs to a patient and a peer, a study to nobody else: neither is there twice, whoever
asks for it and how often.  Each is due at a moment, is claimed with a lease, and ends in a state
with a sentence that a person can read.  Whoever claimed it notes how it went as long as nobody
took it over, or called it off, meanwhile.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, and_, exists, false, or_, select, union, update

from kernel.ids import derived
from storage import claims, patients
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.signs import due_by
from storage.tables.archive import STUDIES
from storage.tables.priors import PRIOR_SEARCHES, PRIOR_STUDIES

_MAX_SENTENCE = 300
_DUE_LIMIT = 20


class PriorState(StrEnum):
    """How a search or the fetching of a study stands."""

    WAITING = "waiting"
    COMING = "coming"
    """Its peer is at it, or was when whoever asked it was killed."""
    DONE = "done"
    """A search alone: the peer answered."""
    CAME = "came"
    """A study alone: it is here."""
    REFUSED = "refused"
    GIVEN_UP = "given_up"


CALLED_OFF = "priors.called_off"
"""The code of what nobody waits for any more; whoever asks next is a reason to go on."""

_FAILED = (PriorState.REFUSED.value, PriorState.GIVEN_UP.value)
"""Another case of the patient is a reason to try again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A state with its reason: a constant code and a sentence for people."""

    state: PriorState
    code: str
    sentence: str


_STOPPED = Standing(
    PriorState.GIVEN_UP, CALLED_OFF, "Called off: nobody waited for it when its sending failed."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A peer that is asked for the priors of a patient."""

    id: str
    patient_ref: str
    ae_title: str
    study_uid: str
    state: PriorState
    code: str
    sentence: str
    attempts: int
    asked_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """A study that a peer said it has of a patient, and that is fetched from it."""

    study_uid: str
    patient_ref: str
    ae_title: str
    study_date: str
    modalities: str
    instances: int | None
    state: PriorState = PriorState.WAITING
    code: str = "priors.waiting"
    sentence: str = "It is fetched soon."
    attempts: int = 0
    asked_at: datetime
    due_at: datetime | None


def ask(
    tx: Transaction,
    *,
    patient_ref: str,
    ae_title: str,
    study_uid: str,
    standing: Standing,
    asked_before: datetime,
    anew: bool = False,
) -> bool:
    """Ask a peer for the priors of a patient; False if it is, or was, asked already.

    Parameters
    ----------
    asked_before
        It is asked again if it was asked no later.
    anew
        Ask again even a peer that is being asked: it may have been told less of the patient.
    """
    table = PRIOR_SEARCHES
    asked = table.c.state == PriorState.COMING.value
    over = standing.state is not PriorState.WAITING
    values = {
        "study_uid": study_uid,
        **_told(standing),
        "attempts": 0,
        "asked_at": tx.at,
        "due_at": None if over else tx.at,
        "ended_at": tx.at if over else None,
    }
    done = tx.execute(
        insert_into(tx, table)
        .values(
            id=derived("prior-search", patient_ref, ae_title),
            patient_ref=patient_ref,
            ae_title=ae_title,
            **values,
        )
        .on_conflict_do_update(
            index_elements=[table.c.id],
            set_=values,
            where=or_(
                and_(table.c.due_at.is_(None), _may_be_asked_again(patient_ref, asked_before)),
                and_(asked, table.c.asked_at <= asked_before) if anew else false(),
            ),
        )
        .execution_options(preserve_rowcount=True)
    )
    return bool(done.rowcount)


SEARCH_SIGNS = (due_by(PRIOR_SEARCHES.c.due_at),)
FETCH_SIGNS = (due_by(PRIOR_STUDIES.c.due_at),)


def searches_due(tx: Transaction, *, at_once: int) -> list[str]:
    """Return the searches to make now: of a peer one thing at a time, of so many peers at once."""
    table = PRIOR_SEARCHES
    return _next(tx, table.c.id, (table.c.due_at, table.c.id), at_once)


def claim_search(tx: Transaction, id: str, *, until: datetime, at_once: int) -> Search | None:
    """Take a search that is due, until a moment; None if it is not, or its peer is busy."""
    if id not in searches_due(tx, at_once=at_once):
        return None
    asking = Standing(PriorState.COMING, "priors.asking", "It is being asked.")
    row = claims.claim(tx, PRIOR_SEARCHES.c.id, id, until=until, told=_told(asking))
    return None if row is None else _search(row)


def note_search(
    tx: Transaction, search: Search, standing: Standing, *, due_at: datetime | None
) -> bool:
    """Note how a search stands; without a moment of the next attempt it is over.

    False: it is no longer the caller's, and what was found counts for nothing.
    """
    return _note(tx, PRIOR_SEARCHES.c.id, search.id, search.due_at, standing, due_at)


def add(tx: Transaction, found: Iterable[Prior]) -> None:
    """Keep studies that were found; one that waits, comes or came stays as it is."""
    table = PRIOR_STUDIES
    for one in found:
        values = {name: getattr(one, name) for name in Prior.__dataclass_fields__}
        values["state"] = one.state.value
        values["ended_at"] = tx.at if one.due_at is None else None
        kept = insert_into(tx, table).values(**values)
        tx.execute(
            kept.on_conflict_do_update(
                index_elements=[table.c.study_uid], set_=values, where=table.c.state.in_(_FAILED)
            )
        )


def known(tx: Transaction, study_uids: list[str]) -> frozenset[str]:
    """Return those of some studies that are here, were withdrawn here, or are fetched already.

    Of one that was called off half of it may be here: it is not known, and asked for again.
    """
    left = select(PRIOR_STUDIES.c.study_uid).where(
        PRIOR_STUDIES.c.study_uid.in_(study_uids), PRIOR_STUDIES.c.code == CALLED_OFF
    )
    here = select(STUDIES.c.study_uid).where(
        STUDIES.c.study_uid.in_(study_uids), STUDIES.c.study_uid.not_in(left)
    )
    asked = select(PRIOR_STUDIES.c.study_uid).where(
        PRIOR_STUDIES.c.study_uid.in_(study_uids), PRIOR_STUDIES.c.state.not_in(_FAILED)
    )
    return frozenset(tx.execute(here.union(asked)).scalars())


def fetches_due(tx: Transaction, *, at_once: int) -> list[str]:
    """Return the studies to fetch now: of a peer one thing at a time, of so many peers at once."""
    table = PRIOR_STUDIES
    order = (table.c.due_at, table.c.study_date.desc(), table.c.study_uid)
    return _next(tx, table.c.study_uid, order, at_once)


def claim_fetch(tx: Transaction, study_uid: str, *, until: datetime, at_once: int) -> Prior | None:
    """Take a study that is due, until a moment; None if it is not, or its peer is sending."""
    _end_lapsed(tx, study_uid)
    if study_uid not in fetches_due(tx, at_once=at_once):
        return None
    coming = Standing(PriorState.COMING, "priors.coming", "The peer is asked to send it.")
    row = claims.claim(tx, PRIOR_STUDIES.c.study_uid, study_uid, until=until, told=_told(coming))
    return None if row is None else _prior(row)


def note_fetch(
    tx: Transaction, prior: Prior, standing: Standing, *, due_at: datetime | None
) -> None:
    """Note how the fetching of a study stands; without a next attempt it is over."""
    if due_at is not None and _is_called_off(tx, prior.study_uid):
        standing, due_at = _STOPPED, None
    _note(tx, PRIOR_STUDIES.c.study_uid, prior.study_uid, prior.due_at, standing, due_at)


def call_off(tx: Transaction, patient_refs: Iterable[str], why: str) -> int:
    """Ask no more for the priors of a patient; return how much that ended.

    A study that its peer is sending comes whole, for half of one is worse than none; it is not
    asked for again should that fail.

    Parameters
    ----------
    why
        A clause for people: what follows 'Called off:'.
    """
    off = Standing(PriorState.GIVEN_UP, CALLED_OFF, f"Called off: {why}.")
    last = Standing(PriorState.COMING, CALLED_OFF, f"It is sent, and not asked for again: {why}.")
    refs, ended = list(patient_refs), {**_told(off), "due_at": None, "ended_at": tx.at}
    coming = PRIOR_STUDIES.c.state == PriorState.COMING.value
    changes: list[tuple[Table, ColumnElement[bool], Mapping[str, Any]]] = [
        (PRIOR_SEARCHES, PRIOR_SEARCHES.c.due_at.is_not(None), ended),
        (PRIOR_STUDIES, and_(PRIOR_STUDIES.c.due_at.is_not(None), ~coming), ended),
        (PRIOR_STUDIES, coming, _told(last)),
    ]
    of_patient = [
        update(table).where(table.c.patient_ref.in_(refs), which).values(values)
        for table, which, values in changes
    ]
    return sum(tx.execute(statement).rowcount for statement in of_patient)


def asked_for(tx: Transaction, study_uid: str) -> list[str]:
    """Return the patients for whom peers are asked because of a study."""
    table = PRIOR_SEARCHES
    query = select(table.c.patient_ref).where(
        table.c.study_uid == study_uid, table.c.due_at.is_not(None)
    )
    return sorted(set(tx.execute(query).scalars()))


def whose(tx: Transaction, study_uid: str) -> str | None:
    """Return the patient as whose a study is shown; None if it is not here."""
    query = select(STUDIES.c.patient_ref).where(STUDIES.c.study_uid == study_uid)
    found: str | None = tx.execute(query).scalar()
    return found


def is_prior(tx: Transaction, study_uid: str) -> bool:
    """Say whether a study is here as a prior of the patient whose it is."""
    query = (
        select(PRIOR_STUDIES.c.patient_ref, STUDIES.c.patient_ref.label("its"))
        .join(STUDIES, STUDIES.c.study_uid == PRIOR_STUDIES.c.study_uid)
        .where(PRIOR_STUDIES.c.study_uid == study_uid)
    )
    row = tx.execute(query).first()
    return row is not None and row.its in patients.same_person(tx, row.patient_ref)


def with_accession(tx: Transaction, accession: str) -> list[str]:
    """Return the priors with an accession number: a request may ask for one later."""
    query = (
        select(PRIOR_STUDIES.c.study_uid)
        .join(STUDIES, STUDIES.c.study_uid == PRIOR_STUDIES.c.study_uid)
        .where(STUDIES.c.accession == accession, STUDIES.c.accession != "")
        .order_by(PRIOR_STUDIES.c.study_uid)
    )
    return list(tx.execute(query).scalars())


def of_patient(tx: Transaction, patient_ref: str) -> tuple[list[Search], list[Prior]]:
    """Return who was asked for a patient's priors and what they have, the latest study first."""
    refs = [patient_ref, patients.stands_for(tx, patient_ref)]
    searches = select(PRIOR_SEARCHES).where(PRIOR_SEARCHES.c.patient_ref.in_(refs))
    studies = select(PRIOR_STUDIES).where(PRIOR_STUDIES.c.patient_ref.in_(refs))
    asked = tx.execute(searches.order_by(PRIOR_SEARCHES.c.ae_title)).mappings()
    latest = PRIOR_STUDIES.c.study_date.desc(), PRIOR_STUDIES.c.study_uid
    found = tx.execute(studies.order_by(*latest)).mappings()
    return [_search(row) for row in asked], [_prior(row) for row in found]


def study_day(tx: Transaction, study_uid: str) -> date:
    """Return the day of a study; the day of the transaction where it says none."""
    found = tx.execute(select(STUDIES.c.study_date).where(STUDIES.c.study_uid == study_uid))
    told: str = found.scalar() or ""
    try:
        return date(int(told[:4]), int(told[4:6]), int(told[6:8]))
    except ValueError:
        return tx.at.date()


def _next(tx: Transaction, key: Column[str], order: tuple[Any, ...], at_once: int) -> list[str]:
    """Return what is due, the first of each peer that is not busy; threads are for others too."""
    busy = _busy(tx)
    free = max(0, at_once - len(busy))
    of_peer = key.table.c.ae_title
    query = (
        select(key.label("key"), of_peer)
        .where(key.table.c.due_at <= tx.at, of_peer.not_in(busy))
        .order_by(*order)
        .limit(_DUE_LIMIT)
    )
    first: dict[str, str] = {}
    for row in tx.execute(query) if free else ():
        first.setdefault(row.ae_title, row.key)
    return list(first.values())[:free]


def _busy(tx: Transaction) -> list[str]:
    """Return the peers that are asked, or are sending, at this moment."""
    at_work = [
        select(table.c.ae_title).where(
            table.c.state == PriorState.COMING.value, table.c.due_at > tx.at
        )
        for table in (PRIOR_SEARCHES, PRIOR_STUDIES)
    ]
    return sorted(set(tx.execute(union(*at_work)).scalars()))


def _note(
    tx: Transaction,
    key: Column[str],
    value: str,
    until: datetime | None,
    standing: Standing,
    due_at: datetime | None,
) -> bool:
    """Note it unless another has taken it over, or it was called off, meanwhile."""
    ended_at = tx.at if due_at is None else None
    done = tx.execute(
        update(key.table)
        .where(key == value, key.table.c.due_at == until)
        .values(**_told(standing), due_at=due_at, ended_at=ended_at)
    )
    return bool(done.rowcount)


def _is_called_off(tx: Transaction, study_uid: str) -> bool:
    query = select(PRIOR_STUDIES.c.code).where(PRIOR_STUDIES.c.study_uid == study_uid)
    return bool(tx.execute(query.with_for_update()).scalar() == CALLED_OFF)


def _end_lapsed(tx: Transaction, study_uid: str) -> None:
    """End a study that was called off while it was sent, and whose sending nobody looks after."""
    table = PRIOR_STUDIES
    tx.execute(
        update(table)
        .where(table.c.study_uid == study_uid, table.c.code == CALLED_OFF, table.c.due_at <= tx.at)
        .values(**_told(_STOPPED), due_at=None, ended_at=tx.at)
    )


def _may_be_asked_again(patient_ref: str, asked_before: datetime) -> Any:
    """Return the condition: it was long ago, nobody was asked in fact, or it was called off."""
    table, found = PRIOR_SEARCHES, PRIOR_STUDIES
    called_off = select(found.c.study_uid).where(
        found.c.patient_ref == patient_ref,
        found.c.ae_title == table.c.ae_title,
        found.c.code == CALLED_OFF,
    )
    return or_(
        table.c.asked_at <= asked_before,
        table.c.attempts == 0,
        table.c.code == CALLED_OFF,
        exists(called_off),
    )


def _told(standing: Standing) -> dict[str, str]:
    return {
        "state": standing.state.value,
        "code": standing.code,
        "sentence": standing.sentence[:_MAX_SENTENCE],
    }


def _search(row: Mapping[Any, Any]) -> Search:
    told = {name: row[name] for name in Search.__dataclass_fields__}
    return Search(**{**told, "state": PriorState(row["state"])})


def _prior(row: Mapping[Any, Any]) -> Prior:
    told = {name: row[name] for name in Prior.__dataclass_fields__}
    return Prior(**{**told, "state": PriorState(row["state"])})
