"""What patients see of their own record: all of it, nobody else's, and who had access (KZ §40)."""

from storage import corrections, patients
from tests.app.clinic import BY, ISSUER, Clinic
from worklist.case import Case

JSON = "application/dicom+json"


def metadata(case: Case) -> str:
    """Return the address of the study of a case for programs."""
    return f"/dicomweb/studies/{case.study_uid}/metadata"


def correct(clinic: Clinic, make, *refs: str) -> int:
    with clinic.parts.database.transaction() as tx:
        return make(tx, *refs, reason="seen on the card", actor=BY).number


def refs(clinic: Clinic, *ids: str) -> list[str]:
    with clinic.parts.database.reading() as tx:
        return [patients.find(tx, each, ISSUER)[0].ref for each in ids]


def test_who_had_two_ids_sees_one_record_while_they_are_one(clinic: Clinic):
    case = clinic.offered("A-2", "P-2")
    person = clinic.browser("patient")
    assert "A-2" not in person.get("/queue").text
    assert person.get(f"/cases/{case.id}").status_code == 403

    for goes, stays in (("P-2", "P-1"), ("P-1", "P-2")):
        number = correct(clinic, corrections.merge, *refs(clinic, goes, stays))
        clinic.settle()
        assert "A-2" in person.get("/queue").text
        assert person.get(f"/cases/{case.id}").status_code == 200
        assert person.get(metadata(case), Accept=JSON).status_code == 200
        with clinic.parts.database.transaction() as tx:
            corrections.withdraw(tx, number, reason="they are two", actor=BY)
        clinic.settle()
        assert "A-2" not in person.get("/queue").text
        assert person.get(f"/cases/{case.id}").status_code == 403


def test_images_that_are_found_to_be_anothers_are_not_shown_to_a_patient(clinic: Clinic):
    case = clinic.offered()
    clinic.ask("A-2", "P-2")
    person, image = clinic.browser("patient"), clinic.engine.archive.instances_of(case.study_uid)[0]
    picture = f"/cases/{case.id}/pictures/{image}.png"
    assert person.get(picture).status_code == 200
    assert person.get(metadata(case), Accept=JSON).status_code == 200

    number = correct(clinic, corrections.move_study, case.study_uid, *refs(clinic, "P-2"))
    clinic.settle()
    assert clinic.case().misfiled_by == number
    assert person.get(picture).status_code == 403
    assert person.get(metadata(case), Accept=JSON).status_code == 403
    assert person.get(f"/cases/{case.id}").status_code == 200
    assert clinic.browser("east").get(picture).status_code == 200  # the site has both

    with clinic.parts.database.transaction() as tx:
        corrections.withdraw(tx, number, reason="it was right", actor=BY)
    clinic.settle()
    assert person.get(picture).status_code == 200


def test_access_before_there_was_a_case_stands_in_its_journal(clinic: Clinic):
    clinic.send()
    clinic.settle()
    program = clinic.program("dicomweb:read")
    study = program.get("/dicomweb/studies").json()[0]["0020000D"]["Value"][0]
    assert program.get(f"/dicomweb/studies/{study}/metadata").status_code == 200
    clinic.ask()
    clinic.settle()

    page = clinic.browser("patient").get(f"/cases/{clinic.case().id}").text
    assert page.count("retrieved images") == 1
    assert "program test" in page
    assert "All here?" in page


def test_of_a_study_with_two_cases_access_stands_in_the_journal_of_both(clinic: Clinic):
    case = clinic.offered()
    second = second_opinion(clinic, case)
    clinic.program("dicomweb:read").get(metadata(case))

    person = clinic.browser("patient")
    for each in (case, second):
        assert person.get(f"/cases/{each.id}").text.count("retrieved images") == 1


def second_opinion(clinic: Clinic, case: Case) -> Case:
    """Open a further case of the study of another, asked for by name."""
    from app.orders import Order, add

    order = Order(
        accession="A-9", study_uid=case.study_uid, patient_id="P-1", issuer=ISSUER,
        name="Marked^Patient", modality="DX", organisation="west",
    )  # fmt: skip
    with clinic.parts.database.transaction() as tx:
        add(tx, order, by=BY)
    clinic.settle()
    return clinic.case("A-9")
