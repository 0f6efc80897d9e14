"""Asking a peer of one service: an association for one SOP class, a question, its answer.

References
----------
DICOM PS3.7 sections 9.3 and 10.3.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from dicom_node import data_sets
from dicom_node.calling import Call
from dicom_node.data_sets import Attribute, Attributes
from dicom_node.dimse import Question, Response
from dicom_node.errors import PeerUnreachable, ServiceLacking
from dicom_node.pdu import AbortReason
from dicom_node.peers import Peer
from dicom_node.send import SendSettings
from dicom_node.statuses import PENDING
from dicom_node.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE


@dataclass(frozen=True, slots=True)
class Asking:
    """An association on which one service may be asked."""

    call: Call
    context: tuple[str, str]
    character_set: str

    def answers(
        self, question: Question, attributes: Sequence[Attribute]
    ) -> Iterator[tuple[Response, Attributes]]:
        """Ask, and yield each answer with its attributes; the last one is final.

        Raises
        ------
        DataSetUnreadable
            What is told cannot be read.
        """
        data = data_sets.encode(attributes, self.context[1])
        for answer, told in self.call.ask(question, self.context, data):
            yield (
                answer,
                data_sets.decode(told, self.context[1], default_character_set=self.character_set),
            )

    def answer(self, question: Question, attributes: Sequence[Attribute]) -> Response:
        """Ask what has one answer; whatever is told beside it is not read.

        Raises
        ------
        PeerUnreachable
            The association is lost, or another answer is to follow.
        """
        data = data_sets.encode(attributes, self.context[1])
        found, _told = next(self.call.ask(question, self.context, data))
        if found.status in PENDING:
            self.call.abort(AbortReason.UNEXPECTED_PARAMETER)
            raise PeerUnreachable("the peer answers one question several times")
        return found


@contextmanager
def asking(
    peer: Peer, sop_class_uid: str, settings: SendSettings, *, answer: timedelta | None = None
) -> Iterator[Asking]:
    """Open an association with a peer to ask one service.

    Raises
    ------
    PeerUnreachable, AssociationRefused
        It cannot be asked now.
    ServiceLacking
        It does not serve this SOP class.
    """
    call = Call(
        [(sop_class_uid, EXPLICIT_LITTLE), (sop_class_uid, IMPLICIT_LITTLE)],
        peer,
        calling=settings.ae_title,
        connect=settings.connect,
        answer=answer or settings.answer,
        secure=settings.secure,
    )
    with closing(call):
        context = call.context_of(sop_class_uid)
        if context is None:
            raise ServiceLacking("the peer does not serve this", ae_title=peer.ae_title)
        yield Asking(call, context, peer.character_set)
