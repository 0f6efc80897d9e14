"""Storage commitment: what a device asks us to answer for, and what we answer.  Pure.

References
----------
DICOM PS3.4 Annex J (push model), PS3.3 section C.14.1.1 (failure reasons).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dicom_node.data_sets import Attribute, Attributes, attribute, sequence
from dicom_node.errors import CommitmentInvalid
from dicom_node.statuses import Status
from kernel.ids import fresh, is_uid

ASKED, REPORTED, GIVEN_UP = "asked", "reported", "given_up"
INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known SOP instance of the push model."""

REQUEST_ACTION = 1
ALL_COMMITTED, SOME_FAILED = 1, 2
"""Event types (PS3.4 section J.3.3)."""

_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=15)
HORIZON = timedelta(days=3)


def next_attempt(attempts: int, *, begun_at: datetime, at: datetime) -> datetime | None:
    """Return when to try again what failed; None once the horizon has passed."""
    pause = min(_FIRST_PAUSE * 2 ** min(attempts, 12), _LONGEST_PAUSE)
    return at + pause if at + pause <= begun_at + HORIZON else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """One transaction: pairs of SOP class and SOP instance UID that a device asks about."""

    id: str
    ae_title: str
    transaction_uid: str
    asked: tuple[tuple[str, str], ...]
    attempts: int
    asked_at: datetime

    def next_attempt(self, at: datetime) -> datetime | None:
        """Return when to report again after a failure; None once the horizon has passed."""
        return next_attempt(self.attempts, begun_at=self.asked_at, at=at)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is committed, and what is not and why."""

    committed: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str, Status], ...]

    @property
    def event_type(self) -> int:
        """The event that says so."""
        return SOME_FAILED if self.failed else ALL_COMMITTED

    def attributes(self, commitment: Commitment, *, ae_title: str) -> list[Attribute]:
        """Return the event information."""
        told = [
            attribute("TransactionUID", commitment.transaction_uid),
            attribute("RetrieveAETitle", ae_title),
        ]
        if self.committed:
            told.append(
                sequence("ReferencedSOPSequence", *(_reference(*pair) for pair in self.committed))
            )
        if self.failed:
            told.append(
                sequence(
                    "FailedSOPSequence",
                    *(
                        [*_reference(sop_class, uid), attribute("FailureReason", str(int(reason)))]
                        for sop_class, uid, reason in self.failed
                    ),
                )
            )
        return told


def read(information: Attributes, *, ae_title: str, at: datetime) -> Commitment:
    """Return what an N-ACTION asks for.

    Raises
    ------
    CommitmentInvalid
        It has no transaction UID, or references nothing.
    """
    transaction_uid = information.value("TransactionUID")
    if not is_uid(transaction_uid):
        raise CommitmentInvalid("a storage commitment has a transaction UID")
    asked = tuple(
        (item.value("ReferencedSOPClassUID"), item.value("ReferencedSOPInstanceUID"))
        for item in information.items("ReferencedSOPSequence")
    )
    if not asked or not all(is_uid(each) for pair in asked for each in pair):
        raise CommitmentInvalid("a storage commitment references SOP instances by their UIDs")
    return Commitment(
        id=fresh(),
        ae_title=ae_title,
        transaction_uid=transaction_uid,
        asked=asked,
        attempts=0,
        asked_at=at,
    )


def judge(commitment: Commitment, held: Mapping[str, str]) -> Judgement:
    """Judge by the index, which names an instance only once its bytes are durable.

    Parameters
    ----------
    held
        SOP class by SOP instance UID, of what the archive has.
    """
    committed, failed = [], []
    for sop_class, uid in commitment.asked:
        if held.get(uid) == sop_class:
            committed.append((sop_class, uid))
        else:
            reason = Status.CLASS_INSTANCE_CONFLICT if uid in held else Status.NO_SUCH_INSTANCE
            failed.append((sop_class, uid, reason))
    return Judgement(tuple(committed), tuple(failed))


def _reference(sop_class: str, uid: str) -> list[Attribute]:
    return [
        attribute("ReferencedSOPClassUID", sop_class),
        attribute("ReferencedSOPInstanceUID", uid),
    ]
