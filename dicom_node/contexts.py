"""Which SOP classes and transfer syntaxes the node accepts, as tables.

Instances are stored verbatim in the transfer syntax in which they come, so every transfer syntax
of the standard is accepted; a private one is not, for nobody else could read it.

References
----------
DICOM PS3.4 Annex B.5 (storage SOP classes), C.6 (query and retrieve), F.7 (performed steps), J.3
(storage commitment), K.5 (modality worklist), R.3 (availability); PS3.6 Annex A (UIDs).
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import IntEnum

from pydicom._uid_dict import UID_dictionary
from pynetdicom.presentation import AllStoragePresentationContexts

from kernel.ids import is_uid

VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
GET_CLASSES = frozenset({PATIENT_ROOT_GET, STUDY_ROOT_GET})
MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
PERFORMED_STEP = "1.2.840.10008.3.1.2.3.3"
PERFORMED_STEP_RETRIEVE = "1.2.840.10008.3.1.2.3.4"
AVAILABILITY = "1.2.840.10008.5.1.4.33"
UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
UPS_WATCH = "1.2.840.10008.5.1.4.34.6.2"
UPS_PULL = "1.2.840.10008.5.1.4.34.6.3"
UPS_EVENT = "1.2.840.10008.5.1.4.34.6.4"
UPS_QUERY = "1.2.840.10008.5.1.4.34.6.5"
SERVICES = frozenset(
    {
        PATIENT_ROOT_FIND,
        PATIENT_ROOT_MOVE,
        PATIENT_ROOT_GET,
        STUDY_ROOT_FIND,
        STUDY_ROOT_MOVE,
        STUDY_ROOT_GET,
        MODALITY_WORKLIST,
        STORAGE_COMMITMENT,
        PERFORMED_STEP,
        PERFORMED_STEP_RETRIEVE,
        UPS_PUSH,
        UPS_WATCH,
        UPS_PULL,
        UPS_QUERY,
        AVAILABILITY,
    }
)
"""What the node serves beside storage and verification."""
# What the identifiers of queries and the like may be written in; nothing there needs compression.
MESSAGE_SYNTAXES = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG})
_STANDARD_ROOT = "1.2.840.10008."
_NOT_INSTANCES = ("Commitment", "Directory", "Print", "Management", "Hardcopy")
# Pixels that stay on another server (JPIP) or flow past (SMPTE) cannot be made durable; MIME and
# XML were never encodings of a C-STORE data set.
_NOT_STORABLE = ("JPIP", "SMPTE", "MIME", "XML", "Papyrus")


def _registered(kind: str) -> dict[str, str]:
    return {uid: entry[0] for uid, entry in UID_dictionary.items() if entry[1] == kind}


def _storage_classes() -> frozenset[str]:
    current = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    retired = {
        uid
        for uid, name in _registered("SOP Class").items()
        if "Storage" in name and not any(word in name for word in _NOT_INSTANCES)
    }
    return frozenset(current | retired)


STORAGE_CLASSES = _storage_classes()
TRANSFER_SYNTAXES = frozenset(
    uid
    for uid, name in _registered("Transfer Syntax").items()
    if not any(word in name for word in _NOT_STORABLE)
)


def name_of(uid: str) -> str:
    """Return the name that the standard gives a UID, or the UID where it gives none."""
    entry = UID_dictionary.get(uid)
    return entry[0] if entry else uid


class ContextResult(IntEnum):
    """Results of one proposed presentation context (PS3.8 table 9-18)."""

    ACCEPTED = 0
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class Proposed:
    """One presentation context that a peer proposes."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """Our answer to one proposed presentation context."""

    id: int
    abstract_syntax: str
    result: ContextResult
    transfer_syntax: str

    @property
    def accepted(self) -> bool:
        """Whether messages may come on this context."""
        return self.result == ContextResult.ACCEPTED


def is_storage(abstract_syntax: str, *, private: bool = True) -> bool:
    """Say whether instances of this class are taken.

    Parameters
    ----------
    private
        Take classes that manufacturers registered under their own root as well.
    """
    if abstract_syntax in STORAGE_CLASSES:
        return True
    return private and is_uid(abstract_syntax) and not abstract_syntax.startswith(_STANDARD_ROOT)


def answer(
    proposed: Sequence[Proposed], *, private: bool = True, services: Set[str] = frozenset()
) -> tuple[Answered, ...]:
    """Answer every proposed context; the proposer's order of transfer syntaxes decides.

    The retired big endian syntax is taken only where nothing else is offered.

    Parameters
    ----------
    services
        The SOP classes beside storage and verification that are served here.
    """
    return tuple(_answer(context, private, services) for context in proposed)


def _answer(context: Proposed, private: bool, services: Set[str]) -> Answered:
    abstract, offered = context.abstract_syntax, context.transfer_syntaxes
    first = offered[0] if offered else IMPLICIT_LITTLE
    if abstract in services:
        taken = MESSAGE_SYNTAXES
    elif abstract == VERIFICATION or is_storage(abstract, private=private):
        taken = TRANSFER_SYNTAXES
    else:
        return Answered(context.id, abstract, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, first)
    known = [syntax for syntax in offered if syntax in taken]
    chosen = next((syntax for syntax in known if syntax != EXPLICIT_BIG), known[0] if known else "")
    if not chosen:
        return Answered(context.id, abstract, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, first)
    return Answered(context.id, abstract, ContextResult.ACCEPTED, chosen)
