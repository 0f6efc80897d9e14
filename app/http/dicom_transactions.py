"""Every DICOMweb transaction that is served: what it is named, where it is, and its media types.

References
----------
DICOM PS3.18 sections 8.9 (capabilities), 9 (URI service), 10 (studies service) and 11 (worklist
service).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.http.accept import DICOM, DICOM_JSON, DICOM_XML, JPEG, OCTETS, PNG
from app.http.dicom_address import INSTANCE, SERIES, STUDY

WADL = "application/vnd.sun.wadl+xml"
_XML_PARTS: Final = f'multipart/related; type="{DICOM_XML}"'
_DICOM_PARTS: Final = f'multipart/related; type="{DICOM}"'
_OCTET_PARTS: Final = f'multipart/related; type="{OCTETS}"'
_MODELS = (DICOM_JSON, _XML_PARTS)
_SENT_MODELS = (DICOM_JSON, DICOM_XML)
_STORED = (_DICOM_PARTS, f'multipart/related; type="{DICOM_JSON}"', _XML_PARTS)
_ONE_MODEL = (*_MODELS, DICOM_XML)
_PICTURES = (JPEG, PNG)
_PICTURE_PARTS = (f'multipart/related; type="{JPEG}"', f'multipart/related; type="{PNG}"')
_FRAMES = (
    _OCTET_PARTS,
    OCTETS,
    *(
        f'multipart/related; type="image/{kind}"'
        for kind in ("jpeg", "jls", "jp2", "jpx", "jphc", "jxl", "dicom-rle")
    ),
)
_RENDERED = (*_PICTURES, *_PICTURE_PARTS)
_PAGED = ("limit", "offset", "fuzzymatching", "includefield", "{attributeID}")
_VIEWED = ("accept", "window", "viewport", "quality")
_NAMES: Mapping[str, str] = {
    "{study_uid}": "{study}",
    "{series_uid}": "{series}",
    "{instance_uid}": "{instance}",
    "{numbers}": "{frames}",
    "{number}": "{frames}",
    "{uid}": "{workitem}",
    "{title}": "{aetitle}",
}


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction on one resource.

    Parameters
    ----------
    id
        Its name in PS3.18.
    method
        The method of HTTP; ``WS`` where a WebSocket is opened.
    path
        Of the resource, as the router names it.
    clause
        Of PS3.18; empty where the standard has no such transaction.
    gives, takes
        Media types of its answers and of what is sent to it.
    asks
        Names of query parameters.
    """

    id: str
    method: str
    path: str
    clause: str
    gives: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()

    @property
    def template(self) -> str:
        """The path as PS3.18 writes it."""
        written = "/".join(_NAMES.get(step, step) for step in self.path.split("/"))
        return written.replace("/{path:path}", "{/bulkdata}")


def _search(name: str, path: str) -> Transaction:
    return Transaction(f"SearchFor{name}", "GET", path, "10.6", _MODELS, asks=_PAGED)


def _read(
    name: str, path: str, clause: str, *gives: str, asks: tuple[str, ...] = ("accept",)
) -> Transaction:
    return Transaction(f"Retrieve{name}", "GET", path, f"10.4.1.1.{clause}", gives, asks=asks)


_FRAMES_OF = INSTANCE + "/frames/{numbers}"
_WORKITEM = "/workitems/{uid}"
_SUBSCRIBER = _WORKITEM + "/subscribers/{title}"

TRANSACTIONS: tuple[Transaction, ...] = (
    Transaction("RetrieveURI", "GET", "/wado", "9", (DICOM, *_PICTURES), asks=("requestType",)),
    _search("Studies", "/studies"),
    _search("StudySeries", STUDY + "/series"),
    _search("StudyInstances", STUDY + "/instances"),
    _search("StudySeriesInstances", SERIES + "/instances"),
    _search("Series", "/series"),
    _search("Instances", "/instances"),
    _read("Study", STUDY, "1", _DICOM_PARTS),
    _read("Series", SERIES, "1", _DICOM_PARTS),
    _read("Instance", INSTANCE, "1", _DICOM_PARTS, DICOM),
    _read("StudyMetadata", STUDY + "/metadata", "2", *_MODELS),
    _read("SeriesMetadata", SERIES + "/metadata", "2", *_MODELS),
    _read("InstanceMetadata", INSTANCE + "/metadata", "2", *_ONE_MODEL),
    _read("RenderedStudy", STUDY + "/rendered", "3", *_PICTURE_PARTS, asks=_VIEWED),
    _read("RenderedSeries", SERIES + "/rendered", "3", *_PICTURE_PARTS, asks=_VIEWED),
    _read("RenderedInstance", INSTANCE + "/rendered", "3", *_RENDERED, asks=_VIEWED),
    _read("RenderedFrames", _FRAMES_OF + "/rendered", "3", *_RENDERED, asks=_VIEWED),
    _read("StudyThumbnail", STUDY + "/thumbnail", "4", *_PICTURES),
    _read("SeriesThumbnail", SERIES + "/thumbnail", "4", *_PICTURES),
    _read("InstanceThumbnail", INSTANCE + "/thumbnail", "4", *_PICTURES),
    _read("FrameThumbnail", INSTANCE + "/frames/{number}" + "/thumbnail", "4", *_PICTURES),
    _read("BulkData", INSTANCE + "/bulkdata/{path:path}", "5", _OCTET_PARTS, OCTETS),
    _read("Frames", _FRAMES_OF, "6", *_FRAMES),
    Transaction("StoreInstances", "POST", "/studies", "10.5", _ONE_MODEL, _STORED),
    Transaction("StoreStudyInstances", "POST", STUDY, "10.5", _ONE_MODEL, _STORED),
    Transaction("DeleteStudy", "DELETE", STUDY, ""),
    Transaction("DeleteSeries", "DELETE", SERIES, ""),
    Transaction("DeleteInstance", "DELETE", INSTANCE, ""),
    Transaction("SearchForWorkitems", "GET", "/workitems", "11.9", _MODELS, asks=_PAGED),
    Transaction("CreateWorkitem", "POST", "/workitems", "11.4", takes=_SENT_MODELS),
    Transaction("RetrieveWorkitem", "GET", _WORKITEM, "11.5", _ONE_MODEL),
    Transaction("UpdateWorkitem", "POST", _WORKITEM, "11.6", takes=_SENT_MODELS),
    *(
        Transaction("ChangeWorkitemState", "PUT", _WORKITEM + path, "11.7", takes=_SENT_MODELS)
        for path in ("/state", "/state/{requester}")
    ),
    *(
        Transaction("RequestCancellation", "POST", _WORKITEM + path, "11.8", takes=_SENT_MODELS)
        for path in ("/cancelrequest", "/cancelrequest/{requester}")
    ),
    Transaction("Subscribe", "POST", _SUBSCRIBER, "11.10", asks=("deletionlock", "filter")),
    Transaction("Unsubscribe", "DELETE", _SUBSCRIBER, "11.11"),
    Transaction("SuspendGlobalSubscription", "POST", _SUBSCRIBER + "/suspend", "11.12"),
    Transaction("OpenEventChannel", "WS", "/ws/subscribers/{title}", "8.10", (DICOM_JSON,)),
    Transaction("RetrieveCapabilities", "OPTIONS", "/", "8.9", (WADL,)),
)
