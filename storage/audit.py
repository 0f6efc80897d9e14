"""The audit chain: who did what to which object, append-only and hash-chained.

Entries are chained in the last moment of a transaction, so that the one row every transaction
has to lock, the head of the chain, is held only for that moment and always last.

References
----------
Vocabulary after DICOM PS3.15 A.5; KZ §40: the patient sees the journal of who had access.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import and_, bindparam, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from kernel.digest import digest_of_value
from kernel.facts import Plain
from kernel.people import Actor
from storage.engine import Transaction
from storage.prepared import Prepared
from storage.tables.audit import AUDIT, AUDIT_HEAD

GENESIS = "0" * 64
_PAGE = 1000


class Outcome(StrEnum):
    """How what was done, or tried, ended; why is in the detail, as a code."""

    SUCCESS = "success"
    REFUSED = "refused"
    """A rule of ours, or whoever was asked, did not let it be done."""
    FAILED = "failed"
    """It was tried and did not work."""
    GIVEN_UP = "given_up"
    """It was tried time after time."""
    UNWANTED = "unwanted"
    """Nobody wants it any more."""
    CANCELLED = "cancelled"
    """Whoever asked took that back, and has what came before."""
    BROKEN_OFF = "broken_off"
    """Whoever asked was gone, and may have what came before."""
    OVERDUE = "overdue"
    """It was done because nothing else came in time."""


FORMER_OUTCOMES: Mapping[str, Outcome] = {"failure": Outcome.FAILED}
"""What rows of the first versions say: they stay, for the chain is over what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the chain; `outcome` is an `Outcome` or what an earlier version wrote."""

    seq: int
    at: datetime
    actor: str
    role: str
    organisation: str | None
    action: str
    subject: str
    case_id: str | None
    outcome: str
    detail: Mapping[str, Plain]
    previous: str
    hash: str


def record(
    tx: Transaction,
    *,
    actor: Actor,
    action: str,
    subject: str,
    case_id: str | None = None,
    outcome: Outcome = Outcome.SUCCESS,
    detail: Mapping[str, Plain] | None = None,
) -> None:
    """Add one entry; it is chained and written when the transaction commits.

    `action` is a constant dotted name such as ``case.opened``; `detail` holds ids, codes and
    digests, never names or free text about a patient.
    """
    pending: list[dict[str, object]] = tx.pending_audit
    pending.append(
        {
            "at": tx.at,
            "actor": actor.ref,
            "role": actor.role.value,
            "organisation": actor.organisation,
            "action": action,
            "subject": subject,
            "case_id": case_id,
            "outcome": outcome.value,
            "detail": dict(detail or {}),
        }
    )
    tx.before_commit("audit", lambda: _chain(tx, pending))


def of_case(tx: Transaction, case_id: str, study_uid: str | None = None) -> list[Entry]:
    """Return every entry about a case in the order of the chain.

    With `study_uid` also what was done with that study and belongs to no case alone: devices ask
    for studies, and some do so before there is a case.
    """
    about = AUDIT.c.case_id == case_id
    if study_uid is not None:
        of_nobody = and_(AUDIT.c.subject == f"study:{study_uid}", AUDIT.c.case_id.is_(None))
        about = or_(about, of_nobody)
    found = tx.execute(select(AUDIT).where(about).order_by(AUDIT.c.seq))
    return [_entry(row) for row in found.mappings()]


def last_of(tx: Transaction, subject: str, actions: Collection[str]) -> Entry | None:
    """Return the newest entry about a subject that is one of some actions."""
    row = (
        tx.execute(
            select(AUDIT)
            .where(AUDIT.c.subject == subject, AUDIT.c.action.in_(sorted(actions)))
            .order_by(AUDIT.c.seq.desc())
            .limit(1)
        )
        .mappings()
        .first()
    )
    return None if row is None else _entry(row)


def latest(tx: Transaction, *, limit: int = 100) -> list[Entry]:
    """Return the newest entries, the newest first."""
    found = tx.execute(select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(limit))
    return [_entry(row) for row in found.mappings()]


def verify(tx: Transaction) -> Iterator[str]:
    """Re-read the whole chain and yield one sentence for each break in it."""
    previous, expected = GENESIS, 1
    for entry in _all(tx):
        if entry.seq != expected:
            yield f"audit entry {expected} is missing: the next one has number {entry.seq}"
        if entry.previous != previous:
            yield f"audit entry {entry.seq} does not continue the one before it"
        if _hash(_content(entry), entry.previous) != entry.hash:
            yield f"audit entry {entry.seq} was changed after it was written"
        previous, expected = entry.hash, entry.seq + 1
    head = tx.execute(select(AUDIT_HEAD)).one()
    if head.hash != previous:
        yield f"the audit chain ends at entry {expected - 1}, not where its head says"


def _chain(tx: Transaction, pending: list[dict[str, object]]) -> None:
    seq, previous = _head(tx)
    rows = []
    for content in pending:
        seq += 1
        numbered = {**content, "seq": seq}
        digest = _hash(numbered, previous)
        rows.append((*(numbered[name] for name in _CONTENT), previous, digest))
        previous = digest
    tx.run(_ADD, rows)
    tx.run(_GO_ON, [(seq, previous)])


def _head(tx: Transaction) -> tuple[int, str]:
    ((seq, digest),) = tx.rows(_HEAD, ())
    return seq, digest


# Every answer that shows something leaves an entry, so these are among what is done most often.
_CONTENT = (
    "at", "actor", "role", "organisation", "action", "subject", "case_id", "outcome", "detail",
    "seq",
)  # fmt: skip
_ADD = Prepared.on_both(lambda _: insert(AUDIT), (*_CONTENT, "previous", "hash"))
_GO_ON = Prepared.on_both(
    lambda _: update(AUDIT_HEAD).values(seq=bindparam("last"), hash=bindparam("last_hash")),
    ("last", "last_hash"),
)
_HEAD = Prepared.on_both(lambda _: select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash).with_for_update())


def _hash(content: Mapping[str, object], previous: str) -> str:
    at = content["at"]
    assert isinstance(at, datetime)
    return digest_of_value({**content, "at": at.isoformat(), "previous": previous})


def _content(entry: Entry) -> dict[str, object]:
    names = ("seq", "at", "actor", "role", "organisation", "action", "subject", "case_id")
    content: dict[str, object] = {name: getattr(entry, name) for name in names}
    return {**content, "outcome": entry.outcome, "detail": dict(entry.detail)}


def _all(tx: Transaction) -> Iterator[Entry]:
    last = -1
    while True:
        page = tx.execute(
            select(AUDIT).where(AUDIT.c.seq > last).order_by(AUDIT.c.seq).limit(_PAGE)
        ).mappings()
        entries = [_entry(row) for row in page]
        yield from entries
        if len(entries) < _PAGE:
            return
        last = entries[-1].seq


def _entry(row: RowMapping) -> Entry:
    return Entry(**row)
