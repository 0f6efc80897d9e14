"""What a node does for those who send and ask is cheap to import: a toolkit takes more memory."""

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
    "dicom_node.finding",
    "dicom_node.retrieve",
    "dicom_node.study_sending",
    "dicom_node.modality_worklist",
    "dicom_node.committing",
    "dicom_node.prior_work",
    "dicom_node.workitems.serving",
    "dicom_node.dicom_json",
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


def test_a_message_is_read_and_written_without_a_toolkit() -> None:
    code = (
        "import sys\n"
        "from dicom_node.data_sets import attribute, decode, encode\n"
        "from dicom_node.uids import IMPLICIT_LITTLE\n"
        "told = encode([attribute('PatientID', '7')], IMPLICIT_LITTLE)\n"
        "assert decode(told, IMPLICIT_LITTLE).value('PatientID') == '7'\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
