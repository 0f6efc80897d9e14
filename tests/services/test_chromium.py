"""The suite's browser is real and runs scripts."""

import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.service


def test_a_page_runs_its_script(chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_content("<p id=p></p><script>p.textContent = 6 * 7</script>")
    assert page.text_content("#p") == "42"
    page.close()
