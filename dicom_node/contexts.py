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

from dicom_node.registry import STORAGE_CLASSES, TRANSFER_SYNTAXES
from dicom_node.uids import EXPLICIT_BIG, IMPLICIT_LITTLE, MESSAGE_SYNTAXES, VERIFICATION
from kernel.ids import is_uid

_STANDARD_ROOT = "1.2.840.10008."


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
    # Nobody looks at what a refusal names (PS3.8 section 9.3.3.2): no text of any length goes back.
    first = offered[0] if offered and is_uid(offered[0]) else IMPLICIT_LITTLE
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
