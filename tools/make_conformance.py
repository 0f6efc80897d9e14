"""Write docs/conformance.md: ``python -m tools.make_conformance``."""

from pathlib import Path

import pynetdicom  # noqa: F401 - it names the newest transfer syntaxes

from app.conformance import statement

DOCUMENT = Path(__file__).parents[1] / "docs/conformance.md"

if __name__ == "__main__":
    DOCUMENT.write_text(statement(), encoding="utf-8")
