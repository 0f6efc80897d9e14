"""The modality worklist: what a site is told it has to do, and what a request opens."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_node import store
from dicom_node.orders import CANCELLED, ScheduledStep
from dicom_node.uids import MODALITY_WORKLIST
from kernel.people import ENGINE
from storage import corrections, patients
from tests.wire.conftest import Node, start
from tests.wire.holdings import HELD, stock
from tests.wire.inquirer import ask, identifier
from tests.wire.speaker import CALLING

SUCCESS, PENDING, PENDING_WARNING, REFUSED = 0x0000, 0xFF00, 0xFF01, 0xA900
NINE = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)  # in Kyiv, in winter

STEP = ScheduledStep(
    request_id="r-1",
    organisation_id="o-1",
    patient_ref="",
    accession="W-1",
    study_uid="1.2.840.77.1",
    modality="CT",
    station_ae_title="VAN1",
    procedure="CT органів грудної клітки",
    scheduled_at=NINE,
    profile=None,
    form="urgent",
    state="received",
)
STEPS = {
    ("P-1", "Ахметова^Айгүл"): [
        STEP,
        replace(STEP, request_id="r-2", accession="W-2", scheduled_at=None, station_ae_title=""),
        replace(STEP, request_id="r-3", accession="W-3", state=CANCELLED),
        replace(STEP, request_id="r-4", accession="W-4", state="matched"),
    ],
    ("P-2", "Müller^Jörg"): [
        replace(
            STEP,
            request_id="r-5",
            accession="",
            study_uid=None,
            modality="CR",
            station_ae_title="VAN2",
            scheduled_at=NINE + timedelta(hours=16),
        ),
    ],
    ("P-9", "Else^Where"): [
        replace(STEP, request_id="r-6", accession="X-1", organisation_id="o-2")
    ],
}


def period(days: str, times: str) -> dict[str, object]:
    return {
        "ScheduledProcedureStepStartDate": days,
        "ScheduledProcedureStepStartTime": times,
    }


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = start(tmp_path_factory.mktemp("planned"))
    with node.database.transaction() as tx:
        for (patient_id, name), steps in STEPS.items():
            ref = patients.register(
                tx,
                issuer="site-1",
                patient_id=patient_id,
                name=name,
                sex="F",
                birth_date=date(1970, 4, 3),
            )
            for step in steps:
                store.save_step(tx, replace(step, patient_ref=ref), at=tx.at)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def wanted(step: dict[str, object] | None = None, **keys: object) -> Dataset:
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("AccessionNumber", "PatientName", "PatientID", "StudyInstanceUID"):
        setattr(asked, keyword, keys.get(keyword, ""))
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    inner = Dataset()
    for keyword in (
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "Modality",
        "ScheduledProcedureStepDescription",
        "ScheduledProcedureStepID",
    ):
        setattr(inner, keyword, (step or {}).get(keyword, ""))
    asked.ScheduledProcedureStepSequence = [inner]
    return asked


def told(node: Node, asked: Dataset, **how: Any) -> dict[str, Dataset]:
    final, found, _ = ask(node, asked, root=MODALITY_WORKLIST, **how)
    assert final == SUCCESS
    return {str(answer.AccessionNumber): answer for answer in found}


@pytest.mark.parametrize(
    ("keys", "step", "accessions"),
    [
        ({}, {}, {"W-1", "W-2", ""}),
        ({"AccessionNumber": "W-1"}, {}, {"W-1", ""}),
        ({"PatientID": "P-2"}, {}, {""}),
        ({"PatientName": "ахметова*"}, {}, {"W-1", "W-2"}),
        ({}, {"ScheduledStationAETitle": "VAN1"}, {"W-1", "W-2"}),
        ({}, {"ScheduledStationAETitle": "VAN2"}, {"W-2", ""}),
        ({}, {"Modality": "CR"}, {""}),
        ({}, {"ScheduledProcedureStepStartDate": "20260302"}, {"W-1", "W-2"}),
        ({}, {"ScheduledProcedureStepStartDate": "20260303"}, {"W-2", ""}),
        ({}, {"ScheduledProcedureStepStartDate": "20260101-20261231"}, {"W-1", "W-2", ""}),
        ({}, {"ScheduledProcedureStepStartTime": "0800-1000"}, {"W-1", "W-2"}),
        ({"PatientID": "P-9"}, {}, set()),
        ({}, period("20260302-20260303", "0800-0200"), {"W-1", "W-2", ""}),
        ({}, period("20260302-20260303", "0930-0200"), {"W-2", ""}),
        ({}, period("20260301-20260302", "1800-0700"), {"W-2"}),
        ({}, period("20260303-", "0100-"), {"W-2", ""}),
        ({}, period("-20260303", "-0030"), {"W-1", "W-2"}),
        ({}, period("20260302", "0800-0859"), {"W-2"}),
    ],
)
def test_the_open_steps_of_the_site_are_told_by_what_is_asked(
    planned: Node, keys: dict[str, object], step: dict[str, object], accessions: set[str]
) -> None:
    assert set(told(planned, wanted(step, **keys))) == accessions


def test_an_item_says_who_what_where_and_when(planned: Node) -> None:
    asked = wanted(
        AccessionNumber="W-1",
        PatientBirthDate="",
        PatientSex="",
        RequestedProcedureID="",
        RequestedProcedureDescription="",
        RequestedProcedurePriority="",
        ReferringPhysicianName="",
        ReferencedStudySequence=[],
        PatientWeight=None,
    )

    item = told(planned, asked)["W-1"]

    assert item.SpecificCharacterSet == "ISO_IR 192"
    assert (str(item.PatientName), item.PatientID) == ("Ахметова^Айгүл", "P-1")
    assert (item.PatientBirthDate, item.PatientSex) == ("19700403", "F")
    assert item.StudyInstanceUID == "1.2.840.77.1"
    assert item.RequestedProcedureID == "W-1"
    assert item.RequestedProcedureDescription == "CT органів грудної клітки"
    assert item.RequestedProcedurePriority == "HIGH"
    assert "ReferringPhysicianName" in item
    assert not item.ReferencedStudySequence
    assert item.PatientWeight is None
    (step,) = item.ScheduledProcedureStepSequence
    assert step.ScheduledStationAETitle == "VAN1"
    assert step.ScheduledProcedureStepStartDate == "20260302"
    assert step.ScheduledProcedureStepStartTime == "090000"
    assert step.Modality == "CT"
    assert step.ScheduledProcedureStepID == "W-1"


def test_a_step_without_a_study_gets_one_that_stays(planned: Node) -> None:
    first, second = (told(planned, wanted(PatientID="P-2"))[""] for _ in range(2))

    assert first.StudyInstanceUID == second.StudyInstanceUID
    (step,) = first.ScheduledProcedureStepSequence
    assert 0 < len(step.ScheduledProcedureStepID) <= 16


def test_a_step_for_every_station_is_told_each_as_its_own(planned: Node) -> None:
    for title in ("VAN1", "VAN2"):
        item = told(planned, wanted(), calling=title)["W-2"]
        (step,) = item.ScheduledProcedureStepSequence
        assert step.ScheduledStationAETitle == title
    assert (
        told(planned, wanted(), calling="VAN2")["W-1"]
        .ScheduledProcedureStepSequence[0]
        .ScheduledStationAETitle
        == "VAN1"
    )


def test_an_empty_sequence_asks_for_all_of_it(planned: Node) -> None:
    asked = wanted(AccessionNumber="W-1")
    asked.ScheduledProcedureStepSequence = []

    (step,) = told(planned, asked)["W-1"].ScheduledProcedureStepSequence

    assert step.Modality == "CT"


def test_a_key_that_is_not_matched_is_said(planned: Node) -> None:
    asked = wanted(ReferringPhysicianName="Petrov*")

    _, found, pending = ask(planned, asked, root=MODALITY_WORKLIST)

    assert len(found) == 3
    assert set(pending) == {PENDING_WARNING}


def test_another_site_is_told_its_own(planned: Node) -> None:
    assert set(told(planned, wanted(), calling="OTHER_SITE")) == {"X-1"}
    assert told(planned, wanted(), calling="READING") == {}


@pytest.mark.skipif(shutil.which("findscu") is None, reason="needs DCMTK")
def test_findscu_reads_the_worklist(planned: Node) -> None:
    address = ["-aec", "TELERAD", "-aet", CALLING, "127.0.0.1", str(planned.port)]
    keys = [
        "AccessionNumber",
        "PatientName",
        "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=VAN1",
        "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate=20260302",
    ]
    done = subprocess.run(
        ["findscu", "-v", "-W", *address, *(part for key in keys for part in ("-k", key))],
        capture_output=True,
        text=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=30,
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "W-1" in said
    assert "Received Final Find Response (Success)" in said


def test_a_request_opens_the_study_that_another_site_sent(tmp_path: Path) -> None:
    node = start(tmp_path)
    try:
        stock(node)
        study = HELD[2]
        with node.database.transaction() as tx:
            mine = patients.register(
                tx, issuer="site-1", patient_id="P-2", name="", sex="", birth_date=None
            )
            other = patients.register(
                tx, issuer="site-1", patient_id="P-1", name="", sex="", birth_date=None
            )
            asked = replace(STEP, organisation_id="o-2", study_uid=None, accession="B-1")
            # Naming the UID of somebody else's study opens nothing.
            stolen = replace(
                STEP, request_id="r-9", organisation_id="o-2", study_uid=HELD[0].uid, accession=""
            )
            store.save_step(tx, replace(asked, patient_ref=mine), at=tx.at)
            store.save_step(tx, replace(stolen, patient_ref=mine), at=tx.at)
            gone = replace(STEP, request_id="r-10", organisation_id="o-2", state=CANCELLED)
            store.save_step(tx, replace(gone, patient_ref=other, study_uid=HELD[1].uid), at=tx.at)
        _, found, _ = ask(node, identifier("STUDY", StudyInstanceUID=""), calling="OTHER_SITE")
    finally:
        node.listener.stop(timedelta(seconds=5))
        node.journal.close()
        node.database.dispose()

    assert {str(each.StudyInstanceUID) for each in found} == {study.uid, HELD[5].uid}


def test_a_step_of_who_was_merged_names_the_one_who_stays(planned: Node) -> None:
    with planned.database.transaction() as tx:
        (goes,), (stays,) = patients.find(tx, "P-2"), patients.find(tx, "P-1")
        made = corrections.merge(tx, goes.ref, stays.ref, reason="one card", actor=ENGINE)
    try:
        (item,) = told(planned, wanted({"Modality": "CR"}, PatientID="P-1")).values()
        assert (item.PatientID, str(item.PatientName)) == ("P-1", "Ахметова^Айгүл")
        assert told(planned, wanted(PatientID="P-2")) == {}
    finally:
        with planned.database.transaction() as tx:
            corrections.withdraw(tx, made.number, reason="two persons", actor=ENGINE)
    (item,) = told(planned, wanted({"Modality": "CR"})).values()
    assert item.PatientID == "P-2"
