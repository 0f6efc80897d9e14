"""Storing a Part 10 file that did not come by an association: STOW-RS and imports.

References
----------
DICOM PS3.18 section 10.5 (store transaction); the HTTP of it is `app`'s.
"""

from dicom_node import remarks
from dicom_node.admission import Announced, Source
from dicom_node.elements import Bytes
from dicom_node.errors import Unreadable
from dicom_node.headers import InstanceHeader, read_file
from dicom_node.intake import Answer, Intake
from dicom_node.part10 import Part10


def store_part10(intake: Intake, data: Bytes, source: Source) -> Answer:
    """Store one Part 10 file by the same admission as a C-STORE.

    The data set is kept verbatim; preamble and file meta information are made anew, and where
    they named another instance than the data set, the data set is right.
    """
    try:
        header, file = read_file(data, source.defaults)
    except Unreadable as refusal:
        return intake.keep_unreadable(source, data, refusal)
    return store_read(intake, data, header, file, source)


def store_read(
    intake: Intake, data: Bytes, header: InstanceHeader, file: Part10, source: Source
) -> Answer:
    """Store a Part 10 file that was read already; note what was odd in its wrapping."""
    announced = Announced(header.sop_class_uid, header.instance_uid, header.transfer_syntax_uid)
    answer = intake.store(announced, source, memoryview(data)[file.data_set_offset :])
    if odd := remarks.of_file(data, file, header):
        intake.remark(answer, odd)
    return answer
