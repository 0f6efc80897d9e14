"""Write what the node knows of the standard: SOP classes, transfer syntaxes and the dictionary.

``dicom_node/registry.py`` has the first two, ``dicom_node/dictionary.txt`` tag, VR and keyword of
each attribute.

The toolkits that list them take fifty megabytes and half a second to import, and a node that only
receives needs nothing else of them.
"""

from pathlib import Path

from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom._uid_dict import UID_dictionary
from pynetdicom.presentation import AllStoragePresentationContexts

TARGET = Path(__file__).parents[1] / "dicom_node/registry.py"
DICTIONARY = TARGET.with_name("dictionary.txt")
_NOT_INSTANCES = ("Commitment", "Directory", "Print", "Management", "Hardcopy")
# Pixels that stay on another server (JPIP) or flow past (SMPTE) cannot be made durable; MIME and
# XML were never encodings of a C-STORE data set.
_NOT_STORABLE = ("JPIP", "SMPTE", "MIME", "XML", "Papyrus")
_HEAD = '''"""The SOP classes of storage and the transfer syntaxes of the standard, by UID.

Written by ``python -m tools.make_registry`` from pydicom and pynetdicom; not edited by hand.

References
----------
DICOM PS3.6 Annex A.
"""
'''


def registry() -> str:
    """Return the text of the module."""
    return "\n".join(
        [
            _HEAD,
            _table("STORAGE_CLASSES", _storage_classes()),
            _table("TRANSFER_SYNTAXES", _transfer_syntaxes()),
            "",
        ]
    )


def dictionary() -> str:
    """Return the table of the attributes; an ``x`` in a tag stands for any digit."""
    rows = {f"{tag:08x}": entry for tag, entry in DicomDictionary.items()}
    rows |= {tag.lower(): entry for tag, entry in RepeatersDictionary.items()}
    return "".join(f"{tag}\t{vr}\t{keyword}\n" for tag, (vr, *_, keyword) in sorted(rows.items()))


def _registered(kind: str) -> dict[str, str]:
    return {uid: entry[0] for uid, entry in UID_dictionary.items() if entry[1] == kind}


def _storage_classes() -> set[str]:
    current = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    retired = {
        uid
        for uid, name in _registered("SOP Class").items()
        if "Storage" in name and not any(word in name for word in _NOT_INSTANCES)
    }
    return current | retired


def _transfer_syntaxes() -> set[str]:
    return {
        uid
        for uid, name in _registered("Transfer Syntax").items()
        if not any(word in name for word in _NOT_STORABLE)
    }


def _table(name: str, uids: set[str]) -> str:
    rows = "".join(f'        "{uid}",\n' for uid in sorted(uids))
    return f"{name} = frozenset(\n    (\n{rows}    )\n)"


if __name__ == "__main__":
    TARGET.write_text(registry(), encoding="utf-8")
    DICTIONARY.write_text(dictionary(), encoding="ascii")
