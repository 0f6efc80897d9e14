"""Indexing what a crash left in the journal without its rows."""

from collections.abc import Mapping

from dicom_node import admission, headers
from dicom_node.admission import Arrival
from dicom_node.errors import Unreadable
from dicom_node.note import from_note
from storage.digests import digest_of
from storage.engine import Transaction
from storage.journal import Place


def admit_record(tx: Transaction, note: Mapping[str, str], data: bytes, place: Place) -> None:
    """Admit one journal record as it would have been on arrival.

    Parameters
    ----------
    note, data, place
        The record as `storage.recovery.recover` found it; `data` is the whole Part 10 file.
    """
    announced, source, received_at = from_note(note)
    try:
        header, _ = headers.read_file(data, source.defaults)
        header = admission.checked(header, announced)
    except Unreadable as refusal:
        admission.quarantine(
            tx,
            place,
            source=source,
            announced_uid=announced.sop_instance_uid,
            refusal=refusal,
            received_at=received_at,
        )
        return
    admission.admit(
        tx,
        [Arrival(header, source, received_at, place)],
        digest_like=lambda _place, other: digest_of(data, like=other),
    )
