"""Rejection notes over STOW-RS: withdrawn for who sent the study, refused and told where read."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from app.http.dicom_address import INSTANCE, STUDY
from dicom_node.uids import KEY_OBJECTS
from kernel.ids import derived_uid
from tests.app.clinic import PASSPHRASE, Clinic, multipart
from tests.app.test_sight import SCOPES, SEARCHES, Site


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def a_note(film: bytes, title: str = "113037") -> bytes:
    """Return a rejection note of a film."""
    told = dcmread(BytesIO(film))
    references = [
        item(
            ReferencedSOPClassUID=told.SOPClassUID,
            ReferencedSOPInstanceUID=told.SOPInstanceUID,
        )
    ]
    series = item(SeriesInstanceUID=told.SeriesInstanceUID, ReferencedSOPSequence=references)
    told.CurrentRequestedProcedureEvidenceSequence = [
        item(StudyInstanceUID=told.StudyInstanceUID, ReferencedSeriesSequence=[series])
    ]
    told.ConceptNameCodeSequence = [
        item(CodeValue=title, CodingSchemeDesignator="DCM", CodeMeaning="Rejected")
    ]
    del told.PixelData
    told.SOPClassUID, told.Modality = KEY_OBJECTS, "KO"
    told.SOPInstanceUID, told.SeriesInstanceUID = generate_uid(), generate_uid()
    told.file_meta.MediaStorageSOPClassUID = KEY_OBJECTS
    told.file_meta.MediaStorageSOPInstanceUID = told.SOPInstanceUID
    told.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    told.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    clinic = Clinic(tmp_path)
    yield Site(clinic)
    clinic.close()


def test_a_program_of_the_site_that_sent_a_study_rejects_it(own: Site) -> None:
    address = own.filled(f"/dicomweb{STUDY}")
    own.clinic.settle()
    assert own.east.get(address).status_code == 200
    for who in (own.west, own.node):
        who.post("/dicomweb/studies", **multipart(a_note(own.film)))
        own.clinic.settle()
        assert own.east.get(address).status_code == 200
    desk = own.clinic.browser("head").get("/desk").text
    assert "a study is withdrawn by the organisation that it belongs to" in desk
    stored = own.east.post("/dicomweb/studies", **multipart(a_note(own.film)))
    assert stored.status_code == 200, stored.text
    own.clinic.settle()
    head = own.clinic.browser("head")
    assert "Rejected for Patient Safety Reasons" in head.get("/desk").text
    assert own.uids["instance_uid"] not in str(own.node.get("/dicomweb/instances").text)
    assert own.uids["instance_uid"] not in str(own.east.get("/dicomweb/instances").text)


def test_a_study_that_is_read_stays_and_everybody_concerned_is_told(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    east = clinic.program(SCOPES, "east")
    clinic.ask()
    assert east.post("/dicomweb/studies", **multipart(clinic.film())).status_code == 200
    clinic.settle()
    case = clinic.case()
    reader = clinic.browser("one")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/accept")
    east.post("/dicomweb/studies", **multipart(a_note(clinic.film())))
    clinic.settle()
    said = "The sender of the images took 1 of them back"
    assert said in reader.get(f"/cases/{case.id}").text
    assert said in reader.get(f"/cases/{case.id}/read").text
    desk = clinic.browser("head").get("/desk").text
    assert "a case of this study is not over" in desk
    reader.write(case, "Clear lungs.", "Normal.", then="finalise")
    assert reader.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE).is_redirect
    clinic.settle()
    clinic.clock.now += clinic.parts.retention.grace
    clinic.settle()
    desk = clinic.browser("head").get("/desk").text
    assert "a signed report was made from this study" in desk  # the rule that holds by now
    address = f"/dicomweb/studies/{derived_uid('study', 'A-1')}"
    assert east.get(address).status_code == 200
    clinic.close()


@pytest.mark.parametrize("choice", ["hide", "show"])
def test_a_site_decides_whether_the_web_shows_what_was_rejected_for_quality(
    tmp_path: Path, choice: Literal["hide", "show"]
) -> None:
    clinic = Clinic(tmp_path, rejected_for_quality=choice)
    own = Site(clinic)
    clinic.ask()
    stored = own.east.post("/dicomweb/studies", **multipart(a_note(own.film, "113001")))
    assert stored.status_code == 200, stored.text
    clinic.settle()
    is_shown = choice == "show"

    for search in SEARCHES:
        answer = own.east.get(own.filled(search))
        assert (own.uids["study_uid"] in answer.text) == is_shown, search
    for address in (
        STUDY,
        f"{STUDY}/metadata",
        f"{INSTANCE}",
        f"{INSTANCE}/rendered",
        f"{INSTANCE}/frames/1",
    ):
        answer = own.east.get(own.filled(f"/dicomweb{address}"))
        assert answer.status_code == (200 if is_shown else 404), address
    if is_shown:
        page = clinic.browser("head").get(f"/cases/{clinic.case().id}").text
        assert "took 1 of them back" in page
        assert "by the settings of this node they stay in use" in page
    clinic.close()
