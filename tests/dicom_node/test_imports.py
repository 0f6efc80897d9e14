"""Rules of messages are cheap to import: the dictionary is opened by the first who asks it."""

import subprocess
import sys

LIGHT = (
    "dicom_node.performed_steps",
    "dicom_node.performing",
    "dicom_node.evidence",
    "dicom_node.testimony",
    "dicom_node.announcements",
    "dicom_node.availability",
    "dicom_node.reactions",
    "dicom_node.services",
)
HEAVY = ("pydicom", "pynetdicom", "numpy")


def test_rules_and_reactions_open_no_toolkit() -> None:
    code = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        f"    print(module, [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *LIGHT], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{module} []" for module in LIGHT]
