"""The DICOM conformance statement of all of telerad: what the node negotiates, and DICOMweb.

References
----------
DICOM PS3.2 Annex A (template); the document is docs/conformance.md.
"""

from app.http.dicom_transactions import TRANSACTIONS
from app.readings import BASIC_TEXT_SR
from dicom_node import conformance
from dicom_node.conformance import classes, table
from dicom_node.imported import SECONDARY_CAPTURE, VIDEO_ENDOSCOPIC, VIDEO_PHOTOGRAPHIC
from dicom_node.paper import SOP_CLASS as ENCAPSULATED_PDF

_MADE = """\
## 14. Objects that are made here

Beside what is received the archive holds what is made here: files of a site that are no DICOM
objects, and reports. Private attributes are neither made nor needed; those that come are kept.
"""
_WEB = """\
## 15. DICOMweb (PS3.18)

Addresses stand below `/dicomweb` of the web server, those of event channels below its root. Every
request needs a token with the right to read or to write, or the session of a person who may; what
an organisation does not see is not found. A form that is not offered is answered with 406. HEAD is
taken wherever GET is. Cross-origin requests of browsers are not served.

Searches match the keys of section 5 of this level and those above; another key, one that is given
twice, and a value that cannot be one are answered with 400 rather than left out. Attributes that
are not in the index are not included, whatever asks for them. `limit` (at most 1000) and `offset`
page through what is found, with a Warning as long as there is more; nothing found is an empty list.

Frames come as they are stored, decoded, or compressed without loss; pictures of frames as JPEG or
PNG, without annotations and ICC profiles, which is said in a Warning where they are asked for, and
without presentation states. WADO-URI refuses to anonymize. Instances, alone and as they are stored,
and bulk data have an ETag and are given in ranges. Of a study or series that is asked for in
another transfer syntax, an instance whose pixels are damaged goes in its own, which its part names.
What is corrected leaves corrected; `?original=true` gives the bytes as they came to those who
correct. Deletion withdraws, within bounds that are the node's, and can be undone for a time.

Stored are instances of requests that came whole; parts that are no instances are told as failures,
and the first 100 of a request kept aside. Compressed bodies are not taken.

{transactions}
"""
_MADE_CLASSES = (
    SECONDARY_CAPTURE,
    VIDEO_ENDOSCOPIC,
    VIDEO_PHOTOGRAPHIC,
    ENCAPSULATED_PDF,
    BASIC_TEXT_SR,
)


def statement() -> str:
    """Return the conformance statement as Markdown."""
    rows = (
        (
            each.id,
            each.clause,
            each.method,
            f"`{each.template}`",
            "<br>".join(f"`{kind}`" for kind in each.gives),
            "<br>".join(f"`{kind}`" for kind in each.takes),
        )
        for each in TRANSACTIONS
    )
    head = ("transaction", "PS3.18", "method", "resource", "answers", "takes")
    web = _WEB.format(transactions=table(head, rows))
    made = f"{_MADE}\n{classes(_MADE_CLASSES)}"
    return "\n".join([conformance.statement(), made, web.rstrip("\n") + "\n"])
