"""STOW-RS: instances into the intake, and what became of each as the standard words it.

References
----------
DICOM PS3.18 section 10.5.3, tables 10.5.3-1 (status codes) and I.2-1 to I.2-3 (response).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from app.http.access import Caller
from dicom_node.admission import Announced, Route, Source
from dicom_node.errors import Unreadable
from dicom_node.headers import Defaults, read_file
from dicom_node.intake import Answer, Intake
from dicom_node.statuses import Outcome, Status, word_for
from dicom_node.stow import store_read
from storage.patients import unstated_issuer

_STORED = frozenset({Outcome.STORED, Outcome.DUPLICATE})
MAX_KEPT_ASIDE = 100
"""Of the parts of one request that are no instances; each that is kept is written to disk."""
_NO_ROOM = frozenset({Outcome.NO_ROOM, Outcome.UNAVAILABLE})


@dataclass(slots=True)
class StoreReport:
    """What became of the instances of one request."""

    base: str
    stored: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    unnamed: list[dict[str, Any]] = field(default_factory=list)
    studies: set[str] = field(default_factory=set)
    no_room: bool = False

    @property
    def status(self) -> HTTPStatus:
        """200: all stored; 202: some; 409: none; 507: none, for want of room."""
        failures = self.failed or self.unnamed
        if not failures:
            return HTTPStatus.OK
        if self.stored:
            return HTTPStatus.ACCEPTED
        return HTTPStatus.INSUFFICIENT_STORAGE if self.no_room else HTTPStatus.CONFLICT

    def body(self) -> dict[str, Any]:
        """Return the Store Instances Response Module in the DICOM JSON model."""
        body: dict[str, Any] = {}
        if len(self.studies) == 1:
            url = f"{self.base}/studies/{next(iter(self.studies))}"
            body["00081190"] = {"vr": "UR", "Value": [url]}
        for tag, items in (
            ("00081199", self.stored),
            ("00081198", self.failed),
            ("0008119A", self.unnamed),
        ):
            if items:
                body[tag] = {"vr": "SQ", "Value": items}
        return body

    def note(self, answer: Answer, named: Announced | None) -> None:
        """Take in what became of one instance."""
        header = answer.header
        if answer.outcome in _STORED and header is not None:
            where = (
                f"{self.base}/studies/{header.study_uid}/series/{header.series_uid}"
                f"/instances/{header.instance_uid}"
            )
            self.stored.append(
                {
                    **_referenced(header.sop_class_uid, header.instance_uid),
                    "00081190": {"vr": "UR", "Value": [where]},
                }
            )
            self.studies.add(header.study_uid)
            return
        self.no_room |= answer.outcome in _NO_ROOM
        self.refuse(int(word_for(answer.outcome)), named)

    def refuse(self, reason: int, named: Announced | None) -> None:
        """Take in that one instance was not stored."""
        item: dict[str, Any] = {"00081197": {"vr": "US", "Value": [reason]}}
        if named is None:
            self.unnamed.append(item)
        else:
            self.failed.append({**_referenced(named.sop_class_uid, named.sop_instance_uid), **item})


def source_of(caller: Caller) -> Source:
    """Return the sender of a request as the intake knows senders."""
    if caller.machine is not None:
        name, organisation = caller.machine.id, caller.machine.organisation_id or ""
    else:
        assert caller.visitor is not None
        person = caller.visitor.person
        name, organisation = person.id, person.organisation_id or ""
    return Source(Route.STOW, name, organisation, Defaults(unstated_issuer(organisation)))


def store_all(
    intake: Intake, files: Iterable[bytes], source: Source, *, base: str, study_uid: str | None
) -> StoreReport:
    """Store the instances of a request whose end was seen, one after the other.

    Of what cannot be read `MAX_KEPT_ASIDE` are kept: a small request may have parts without number.
    """
    report, odd, begun = StoreReport(base), 0, set[str]()
    for data in files:
        try:
            header, file = read_file(data, source.defaults)
        except Unreadable as refusal:
            odd += 1
            if odd > MAX_KEPT_ASIDE:
                report.refuse(int(Status.CANNOT_UNDERSTAND), None)
                continue
            report.note(intake.keep_unreadable(source, data, refusal), None)
            continue
        named = Announced(header.sop_class_uid, header.instance_uid, header.transfer_syntax_uid)
        if study_uid is not None and header.study_uid != study_uid:
            report.refuse(int(Status.DATA_SET_DOES_NOT_MATCH), named)
            continue
        sender = source._replace(begins=header.study_uid not in begun)
        answer = store_read(intake, data, header, file, sender)
        if answer.outcome is Outcome.STORED:
            begun.add(header.study_uid)
        report.note(answer, named)
    return report


def _referenced(sop_class_uid: str, instance_uid: str) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [instance_uid]},
    }
