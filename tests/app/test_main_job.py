"""The main job by hand over HTTP: sign in, accept, write, finalise, sign, see it delivered."""

import re

from tests.app.clinic import NAME, PASSPHRASE, Clinic
from worklist.case import CaseState


def test_a_study_is_read_and_signed_over_http_until_the_case_is_complete(clinic: Clinic):
    case = clinic.offered()
    assert case.state is CaseState.OFFERED
    reader = clinic.browser("one")
    queue = reader.get("/queue")
    assert f"/cases/{case.id}/accept" in queue.text
    assert "Marked" not in queue.text

    assert reader.post(f"/cases/{case.id}/accept").status_code == 303
    page = reader.get(f"/cases/{case.id}/read")
    assert page.status_code == 200
    assert "Marked Patient" in page.text
    picture = re.search(r'<img id="image" src="([^"]+)"', page.text)
    assert picture is not None
    shown = reader.get(picture.group(1).replace("&amp;", "&"))
    assert shown.headers["content-type"] == "image/png"

    assert reader.write(case, "Clear lungs.", "Normal.", then="finalise").status_code == 303
    preview = reader.get(f"/cases/{case.id}/preview.pdf")
    assert preview.content.startswith(b"%PDF")
    page = reader.get(f"/cases/{case.id}/read")
    version = re.search(r'name="version" value="(\d+)"', page.text)
    assert version is not None

    refused = reader.post(f"/cases/{case.id}/sign", version=version.group(1), passphrase="wrong")
    assert refused.status_code == 422
    assert "passphrase" in refused.text
    signed = reader.post(f"/cases/{case.id}/sign", version=version.group(1), passphrase=PASSPHRASE)
    assert signed.status_code == 303, signed.text
    clinic.settle()
    assert clinic.case().state is CaseState.COMPLETED

    doctor = clinic.browser("east")
    inbox = doctor.get("/queue")
    notice = re.search(r"/notices/([0-9a-f-]{36})/seen", inbox.text)
    assert notice is not None
    assert doctor.post(f"/notices/{notice.group(1)}/seen").status_code == 303
    case_page = doctor.get(f"/cases/{case.id}")
    assert NAME.replace("^", " ") in case_page.text
    pdf = doctor.get(f"/cases/{case.id}/report/1.pdf")
    assert pdf.content.startswith(b"%PDF")
    document = doctor.get(f"/cases/{case.id}/report/1.fhir.json").json()
    assert (document["resourceType"], document["type"]) == ("Bundle", "document")
    assert doctor.get(f"/cases/{case.id}/report/1.dcm").content[128:132] == b"DICM"
