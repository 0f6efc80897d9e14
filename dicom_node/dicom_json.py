"""An instance without its bulk, in the DICOM JSON model.

References
----------
DICOM PS3.18 section F.2 (the model) and section 10.4.1.1.2 (metadata resources).
"""

from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from dicom_node.errors import Unreadable, UnreadableReason

MAX_INLINE_BYTES = 1024
_BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


def metadata_of(part10: bytes) -> dict[str, Any]:
    """Return the attributes of an instance; pixels and other long binary values are left out.

    Raises
    ------
    Unreadable
        The data set cannot be read whole.
    """
    try:
        data_set = dcmread(BytesIO(part10), stop_before_pixels=True)
        _without_bulk(data_set)
        found: dict[str, Any] = data_set.to_json_dict(suppress_invalid_tags=True)
    except (InvalidDicomError, ValueError, KeyError, EOFError, NotImplementedError) as error:
        raise Unreadable(
            UnreadableReason.NOT_A_DATA_SET, "the data set cannot be given as JSON"
        ) from error
    return found


def _without_bulk(data_set: Dataset) -> None:
    for element in list(data_set):
        if element.VR == "SQ":
            for item in element.value:
                _without_bulk(item)
        elif element.VR in _BULK_VRS and len(element.value or b"") > MAX_INLINE_BYTES:
            del data_set[element.tag]
