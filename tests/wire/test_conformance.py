"""The conformance statement says what is negotiated, no more and no less."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom._uid_dict import UID_dictionary
from pynetdicom import AE, build_role, evt

from app.conformance import statement
from dicom_node.uids import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    SERVICES,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    VERIFICATION,
)
from tests.dicom_node.samples import CT
from tests.wire.conftest import Node
from tests.wire.inquirer import without_delay
from tests.wire.speaker import CALLING

DOCUMENT = Path(__file__).parents[2] / "docs/conformance.md"
_ROW = re.compile(r"^\| .+ \| ([0-9.]+) \|$", re.MULTILINE)
_AT_ONCE = 100


def section(title: str) -> set[str]:
    """Return the UIDs in the table below a heading."""
    _, _, rest = statement().partition(f"### {title}")
    return set(_ROW.findall(re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]))


def accepted(node: Node, proposed: Iterable[tuple[str, Sequence[str]]]) -> set[tuple[str, str]]:
    """Propose contexts, a hundred at a time; return pairs of class and syntax that were taken."""
    taken: set[tuple[str, str]] = set()
    wanted = list(proposed)
    for at in range(0, len(wanted), _AT_ONCE):
        entity = AE(ae_title=CALLING)
        for abstract, syntaxes in wanted[at : at + _AT_ONCE]:
            entity.add_requested_context(abstract, list(syntaxes))
        association = entity.associate(
            "127.0.0.1",
            node.port,
            ae_title="TELERAD",
            evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
        )
        taken |= {
            (str(each.abstract_syntax), str(each.transfer_syntax[0]))
            for each in association.accepted_contexts
        }
        if association.is_established:
            association.release()
        else:
            assert not association.accepted_contexts
    return taken


def registered(kind: str) -> list[str]:
    return [uid for uid, entry in UID_dictionary.items() if entry[1] == kind]


def test_the_document_is_the_statement() -> None:
    assert DOCUMENT.read_text() == statement(), "run: python -m tools.make_conformance"


def test_the_sop_classes_are_those_that_are_negotiated(stocked: Node) -> None:
    kinds = ("SOP Class", "Meta SOP Class", "Service Class")
    everything = [uid for kind in kinds for uid in registered(kind)]
    documented = section("Services (as SCP)") | section("Storage")
    syntaxes = [EXPLICIT_LITTLE, IMPLICIT_LITTLE]
    beyond = sorted(documented - set(everything))  # what pynetdicom knows beside the register

    taken = accepted(stocked, ((uid, syntaxes) for uid in [*everything, *beyond]))

    assert {uid for uid, _ in taken} == documented
    assert documented >= SERVICES


def test_the_transfer_syntaxes_are_those_that_are_negotiated(stocked: Node) -> None:
    every = registered("Transfer Syntax")

    stored = accepted(stocked, ((CT, [syntax]) for syntax in every))
    asked = accepted(stocked, ((STUDY_ROOT_FIND, [syntax]) for syntax in every))

    assert {syntax for _, syntax in stored} == section("Transfer syntaxes")
    said = re.search(r"^Transfer syntaxes of the services: (.*)\.$", statement(), re.MULTILINE)
    assert said is not None
    assert {syntax for _, syntax in asked} == set(re.findall(r"\(([0-9.]+)\)", said[1]))


def test_a_role_is_granted_for_storage_beside_a_get_alone(stocked: Node) -> None:
    granted = {}
    for beside in (STUDY_ROOT_GET, VERIFICATION):
        entity = AE(ae_title=CALLING)
        for uid in (beside, CT):
            entity.add_requested_context(uid)
        association = entity.associate(
            "127.0.0.1",
            stocked.port,
            ae_title="TELERAD",
            ext_neg=[build_role(CT, scu_role=True, scp_role=True)],
            evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
        )
        role = association.acceptor.role_selection[CT]
        granted[beside] = (bool(role.scu_role), bool(role.scp_role))
        association.release()

    assert granted == {STUDY_ROOT_GET: (True, True), VERIFICATION: (True, False)}
