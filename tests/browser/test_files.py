"""Adding files to a request, in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app.clinic import Clinic
from tests.browser.conftest import sign_in
from tests.dicom_node.pictures_of import encoded, pdf
from worklist import store

pytestmark = pytest.mark.service


def test_a_site_adds_files_and_is_told_what_became_of_each(
    clinic: Clinic, page: Page, tmp_path: Path
) -> None:
    clinic.ask()
    with clinic.parts.database.reading() as tx:
        (request,) = store.list_requests(tx)
    for name, content in (("photo.png", encoded("PNG")), ("brief.pdf", pdf()), ("a.txt", b"no")):
        (tmp_path / name).write_bytes(content)
    sign_in(page, clinic, "east")
    page.get_by_role("link", name=request.accession).click()
    names = ["photo.png", "brief.pdf", "photo.png", "a.txt"]
    for count, name in enumerate(names, start=1):
        page.get_by_label("Files", exact=True).set_input_files(tmp_path / name)
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("button", name="Add")).to_be_enabled()
        expect(page.locator("#uploads li")).to_have_count(count)
    lines = page.locator("#uploads li")
    expect(lines).to_have_count(4)
    expect(lines.nth(0)).to_have_text("photo.png: stored.")
    expect(lines.nth(1)).to_have_text("brief.pdf: stored.")
    expect(lines.nth(2)).to_have_text("photo.png: was here already.")
    expect(lines.nth(3)).to_contain_text("refused:")
    page.reload()
    expect(page.get_by_role("cell", name="Imported documents")).to_be_visible()
