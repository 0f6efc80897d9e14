"""docs/states.md is what ``telerad states`` prints."""

from tests.cli.command import ROOT, telerad


def test_the_document_is_what_the_command_prints() -> None:
    printed = telerad("states")

    assert (printed.returncode, printed.stderr) == (0, "")
    written = (ROOT / "docs" / "states.md").read_text()
    assert printed.stdout == written, "run: telerad states > docs/states.md"
