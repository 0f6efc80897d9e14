"""PDUs and command sets against pynetdicom's own encoders, and against arbitrary bytes."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dsutils import decode
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ClassNotification

from dicom_node import dimse, pdu, uids
from dicom_node.contexts import Answered, ContextResult, Proposed, answer, is_storage
from dicom_node.dimse import Command, Element, Request, parse_request, response
from dicom_node.errors import ProtocolBroken, UnreadableReason
from dicom_node.statuses import Outcome, Status, outcome_of, word_for

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def an_associate_request() -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = pdu.APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = "VAN1", "TELERAD"
    proposed = build_context(CT, [uids.EXPLICIT_LITTLE, uids.IMPLICIT_LITTLE])
    proposed.context_id = 1
    primitive.presentation_context_definition_list = [proposed]
    length, implementation = MaximumLengthNotification(), ClassNotification()
    length.maximum_length_received = 16_382
    implementation.implementation_class_uid = "1.2.3"
    primitive.user_information = [length, implementation]
    request = A_ASSOCIATE_RQ()
    request.from_primitive(primitive)
    return bytes(request.encode())


def test_an_association_request_of_pynetdicom_is_understood() -> None:
    request = pdu.parse_associate_request(an_associate_request()[pdu.HEADER_LENGTH :])

    assert (request.called, request.calling) == ("TELERAD", "VAN1")
    assert request.contexts == (Proposed(1, CT, (uids.EXPLICIT_LITTLE, uids.IMPLICIT_LITTLE)),)
    assert (request.max_pdu, request.implementation_class) == (16_382, "1.2.3")


def test_our_acceptance_is_understood_by_pynetdicom() -> None:
    request = pdu.parse_associate_request(an_associate_request()[pdu.HEADER_LENGTH :])
    accept = A_ASSOCIATE_AC()
    accept.decode(pdu.associate_accept(request, answer(request.contexts), max_pdu=131_072))
    primitive = accept.to_primitive()

    (context,) = primitive.presentation_context_definition_results_list
    assert (context.context_id, context.result) == (1, 0)
    assert context.transfer_syntax == [uids.EXPLICIT_LITTLE]
    assert primitive.maximum_length_received == 131_072
    assert primitive.implementation_class_uid == pdu.IMPLEMENTATION_CLASS_UID


@pytest.mark.parametrize(
    ("rejection", "words"),
    [
        (pdu.CALLING_UNKNOWN, (1, 1, 3)),
        (pdu.CALLED_UNKNOWN, (1, 1, 7)),
        (pdu.OTHER_APPLICATION, (1, 1, 2)),
        (pdu.NO_SUCH_PROTOCOL, (1, 2, 2)),
        (pdu.CONGESTED, (2, 3, 1)),
        (pdu.LIMIT_REACHED, (2, 3, 2)),
    ],
)
def test_rejections_are_those_of_the_standard(
    rejection: pdu.Rejection, words: tuple[int, int, int]
) -> None:
    reject = A_ASSOCIATE_RJ()
    reject.decode(pdu.associate_reject(rejection))

    assert (reject.result, reject.source, reject.reason_diagnostic) == words


@given(data=st.binary(max_size=300))
def test_any_bytes_are_an_association_request_or_break_the_protocol(data: bytes) -> None:
    for body in (data, an_associate_request()[6:74] + data):
        with suppress(ProtocolBroken):
            request = pdu.parse_associate_request(body)
            assert len({context.id for context in request.contexts}) == len(request.contexts)


@given(data=st.data())
def test_a_damaged_association_request_does_no_more_than_break_the_protocol(
    data: st.DataObject,
) -> None:
    body = bytearray(an_associate_request()[pdu.HEADER_LENGTH :])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ProtocolBroken):
        pdu.parse_associate_request(body)


def test_a_response_is_understood_by_pynetdicom() -> None:
    request = Request(Command.C_STORE_RQ, 77, True, CT, "1.2.3.4")
    message = C_STORE_RSP()
    sent = response(request, Status.OUT_OF_RESOURCES, comment="the disk has no room")
    message.encoded_command_set.write(sent)  # as pynetdicom's own receiver fills it
    message.command_set = _decoded(sent)
    primitive = message.message_to_primitive()

    assert primitive.Status == 0xA700
    assert primitive.MessageIDBeingRespondedTo == 77
    assert primitive.AffectedSOPInstanceUID == "1.2.3.4"
    assert primitive.ErrorComment == "the disk has no room"


def _decoded(command: bytes):  # type: ignore[no-untyped-def]
    return decode(BytesIO(command), True, True)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_request_or_break_the_protocol(data: bytes) -> None:
    with suppress(ProtocolBroken):
        parse_request(data)


def test_a_response_nobody_asked_for_breaks_the_protocol() -> None:
    request = Request(Command.C_ECHO_RQ, 1, False, uids.VERIFICATION, "")

    with pytest.raises(ProtocolBroken):
        parse_request(response(request, Status.SUCCESS))


def test_every_outcome_has_a_word_and_only_what_is_kept_succeeds() -> None:
    succeeded = {outcome for outcome in Outcome if word_for(outcome) is Status.SUCCESS}

    assert succeeded == {Outcome.STORED, Outcome.DUPLICATE}
    assert word_for(Outcome.NO_ROOM) == 0xA700
    assert word_for(Outcome.MISMATCHED) == 0xA900
    assert 0xC000 <= word_for(Outcome.UNREADABLE) <= 0xCFFF
    assert 0xC000 <= word_for(Outcome.CONFLICTING) <= 0xCFFF
    assert {outcome_of(reason) for reason in UnreadableReason} == {
        Outcome.UNREADABLE,
        Outcome.MISMATCHED,
    }


def test_elements_and_comment_fit_their_value_representations() -> None:
    request = Request(Command.C_STORE_RQ, 1, True, CT, "1." * 200)
    sent = response(request, Status.CANNOT_UNDERSTAND, comment="x" * 500)

    assert len(dimse._elements(sent)[Element.ERROR_COMMENT]) == 64
    assert len(dimse._elements(sent)[Element.AFFECTED_SOP_INSTANCE]) == 64


@pytest.mark.parametrize(
    "counts",
    [
        {Element.ERROR_ID: 0xA710},
        {Element.REMAINING: 1, Element.COMPLETED: 2, Element.FAILED: 3, Element.WARNING: 4},
    ],
)
def test_the_elements_of_an_answer_are_in_the_order_of_their_tags(
    counts: dict[Element, int],
) -> None:
    request = Request(Command.N_ACTION_RQ, 1, True, CT, "1.2", action_type=1)
    sent = response(
        request, Status.PROCESSING_FAILURE, comment="why", counts=counts, offending=0x0020000D
    )
    elements = dimse._elements(sent)

    assert list(elements) == sorted(elements)
    assert elements[Element.OFFENDING_ELEMENT] == b"\x20\x00\x0d\x00"
    assert counts.keys() <= elements.keys()


@pytest.mark.parametrize(
    ("abstract", "accepted"),
    [
        (CT, True),
        (uids.VERIFICATION, True),
        ("1.2.840.10008.5.1.4.1.1.1.1", True),
        ("1.2.840.10008.5.1.4.1.1.6", True),  # retired ultrasound
        ("1.3.12.2.1107.5.9.1", True),  # a manufacturer's own
        (FIND, False),
        ("1.2.840.10008.1.3.10", False),  # media directory
        ("1.2.840.10008.1.20.1", False),  # storage commitment
        ("", False),
        ("not a uid", False),
    ],
)
def test_contexts_of_storage_and_verification_are_accepted(abstract: str, accepted: bool) -> None:
    (given_answer,) = answer([Proposed(1, abstract, (uids.IMPLICIT_LITTLE,))])

    assert given_answer.accepted is accepted
    if not accepted:
        assert given_answer.result is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED


def test_private_classes_can_be_shut_out() -> None:
    assert is_storage("1.3.12.2.1107.5.9.1")
    assert not is_storage("1.3.12.2.1107.5.9.1", private=False)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((uids.EXPLICIT_BIG, uids.IMPLICIT_LITTLE), uids.IMPLICIT_LITTLE),
        ((uids.EXPLICIT_BIG,), uids.EXPLICIT_BIG),
        (("1.2.840.10008.1.2.4.70", uids.EXPLICIT_LITTLE), "1.2.840.10008.1.2.4.70"),
        (("1.2.3.4", uids.DEFLATED_LITTLE), uids.DEFLATED_LITTLE),
        (("1.2.3.4",), None),
        ((), None),
    ],
)
def test_the_senders_order_of_transfer_syntaxes_decides(
    offered: tuple[str, ...], chosen: str | None
) -> None:
    (given_answer,) = answer([Proposed(3, CT, offered)])

    if chosen is None:
        assert given_answer.result is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    else:
        assert given_answer == Answered(3, CT, ContextResult.ACCEPTED, chosen)
