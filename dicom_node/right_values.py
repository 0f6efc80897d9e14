"""What is right of a corrected instance, by tag, and what may not stay in it.

Values stand at the top of a data set.  Of what repeats them inside its sequences, by PS3.3:

- Request Attributes (C.7.3.1.1, table 10-9) and Referenced Request (C.17.2) name the request: the
  accession number in their items follows the corrected one, and with another person they go;
- Other Patient IDs (C.7.1.1) are ids of the same person: after a merge they are right as ever,
  with another person they go, as does the Referenced Patient;
- what tells what was before (Original Attributes, C.12.1.1.9) or is sealed (Encrypted Attributes,
  digital signatures, C.12.1.1.3) is left alone, and so are the content of structured reports,
  encapsulated documents, private attributes and pixels: nobody can say what else they hold.
"""

from collections.abc import Mapping

from kernel.ids import UNIDENTIFIED
from storage.shown import Shown

ACCESSION, _NAME, _ID, _ISSUER, _BIRTH_DATE, _SEX = (
    0x00080050, 0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00100040,
)  # fmt: skip
_ISSUER_QUALIFIERS = 0x00100024
REQUESTS = frozenset({0x00400275, 0x0040A370})
"""Sequences whose items name the request for which instances were made."""

_OF_THE_PERSON = frozenset(
    {
        0x00081120, 0x00100022, 0x00100026, 0x00100027, 0x00100032, 0x00100033, 0x00100034,
        0x00100035, 0x00100212, 0x00100213, 0x00100214, 0x00100215, 0x00100216, 0x00100217,
        0x00100218, 0x00100219, 0x00100221, 0x00101000, 0x00101001, 0x00101002, 0x00101005,
        0x00101010, 0x00101040, 0x00101060, 0x00101080, 0x00101081, 0x00101090, 0x00102000,
        0x00102110, 0x00102150, 0x00102152, 0x00102154, 0x00102160, 0x00102180, 0x001021A0,
        0x001021B0, 0x001021C0, 0x001021D0, 0x001021F0, 0x00102201, 0x00102202, 0x00102203,
        0x00102292, 0x00102293, 0x00102294, 0x00102295, 0x00102296, 0x00102297, 0x00102298,
        0x00102299, 0x00104000,
    }
)  # fmt: skip
_OF_THE_VISIT = frozenset(
    {
        0x00081080, 0x00081084, 0x00321030, 0x00321066, 0x00321067, 0x00380010, 0x00380011,
        0x00380014, 0x00380050, 0x00380060, 0x00380061, 0x00380062, 0x00380064, 0x00380300,
        0x00380400, 0x00380500,
    }
)  # fmt: skip
_OF_THE_TRIAL_SUBJECT = frozenset(
    {
        0x00120010, 0x00120020, 0x00120021, 0x00120022, 0x00120023, 0x00120030, 0x00120031,
        0x00120032, 0x00120040, 0x00120041, 0x00120042, 0x00120043, 0x00120081, 0x00120082,
    }
)  # fmt: skip
DESCRIBES_THE_PERSON = _OF_THE_PERSON | _OF_THE_VISIT | _OF_THE_TRIAL_SUBJECT
"""Of the patient modules (C.7.1.1, C.7.1.3, C.7.2.2) what belongs to the person and the visit, and
not to how the images were made."""


IDENTITY = (_NAME, _ID, _ISSUER, _ISSUER_QUALIFIERS, _BIRTH_DATE, _SEX)
"""Of whoever stands for the patient, by these attributes."""


def wanted(shown: Shown) -> Mapping[int, str | None]:
    """Return the right values by tag; None where an attribute may not stay."""
    said: dict[int, str | None] = {}
    patient = shown.patient
    if patient is not None:
        unnamed = patient.issuer == UNIDENTIFIED
        said |= {
            _NAME: patient.name,
            _ID: "" if unnamed else patient.patient_id,
            _ISSUER: None if unnamed or patient.is_unstated else patient.issuer,
            _ISSUER_QUALIFIERS: None,
            _BIRTH_DATE: patient.birth_date.strftime("%Y%m%d") if patient.birth_date else "",
            _SEX: patient.sex,
        }
    tags = {"name": _NAME, "sex": _SEX, "birth_date": _BIRTH_DATE}
    said |= {tags[name]: value.replace("-", "") if name == "birth_date" else value
             for name, value in shown.demographics.items()}  # fmt: skip
    if shown.accession is not None:
        said[ACCESSION] = shown.accession
    if shown.another_person:
        said |= dict.fromkeys(DESCRIBES_THE_PERSON | REQUESTS)
    return said
