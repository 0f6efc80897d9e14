"""What is odd in an instance that is archived all the same: the words for it.  Pure.

A remark never changes what is stored and never holds a study up; it tells people what the images
do not say by themselves.

References
----------
DICOM PS3.10 section 7.1 (preamble, file meta information), PS3.3 section C.12.1.1.2 (character
sets), PS3.5 table 6.2-1 (dates) and section 8 (pixel data).
"""

from enum import StrEnum

from dicom_node.elements import Bytes
from dicom_node.headers import InstanceHeader
from dicom_node.part10 import PREAMBLE_LENGTH, Part10

# Beginnings that programs, scripts, pages and archives have; others are no danger by themselves.
_ACTIVE = (b"MZ", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"#!", b"PK", b"%PDF")
_MARKUP = b"<"


class Remark(StrEnum):
    """What is odd; the value is a constant code."""

    ACTIVE_PREAMBLE = "active_preamble"
    META_DISAGREES = "meta_disagrees"
    CHARACTER_SET_GUESSED = "character_set_guessed"
    DATE_IMPOSSIBLE = "date_impossible"
    PIXELS_SHORT = "pixels_short"
    OTHER_PATIENT = "other_patient"

    @property
    def sentence(self) -> str:
        """What a person is told."""
        return _SENTENCES[self]


_SENTENCES = {
    Remark.ACTIVE_PREAMBLE: "The file came with a program or page in its preamble; "
    "the preamble was not kept.",
    Remark.META_DISAGREES: "The file meta information named another instance than the data set; "
    "the data set is right.",
    Remark.CHARACTER_SET_GUESSED: "The images do not say in which character set their text is; "
    "names and descriptions may be shown wrongly.",
    Remark.DATE_IMPOSSIBLE: "The study date is no day of the calendar; it is kept as it was sent.",
    Remark.PIXELS_SHORT: "There are fewer pixels than the image says; it is not shown.",
    Remark.OTHER_PATIENT: "The images name another patient than the study: they came while the "
    "two were held for one person, which was taken back.",
}


def of_file(data: Bytes, file: Part10, header: InstanceHeader) -> frozenset[Remark]:
    """Return what is odd in the wrapping of a file, which is not kept."""
    found = set()
    preamble = bytes(data[:PREAMBLE_LENGTH])
    if preamble.startswith(_ACTIVE) or preamble.lstrip().startswith(_MARKUP):
        found.add(Remark.ACTIVE_PREAMBLE)
    if file.sop_instance_uid and file.sop_instance_uid != header.instance_uid:
        found.add(Remark.META_DISAGREES)
    return frozenset(found)
