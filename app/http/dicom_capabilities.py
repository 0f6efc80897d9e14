"""What this DICOMweb server offers, for programs that look before they ask.

References
----------
DICOM PS3.18 section 8.9 (capabilities) and Annex H; Web Application Description Language, W3C
member submission of 31 August 2009.
"""

from functools import lru_cache
from typing import Final
from xml.etree import ElementTree as Xml

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.http.accept import accept_of, accepts
from app.http.access import ReadsDicom
from app.http.dicom_model import base_of
from app.http.dicom_transactions import TRANSACTIONS, WADL, Transaction
from app.http.errors import NotAcceptable

router = APIRouter(prefix="/dicomweb")
_NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"
_XML: Final = "application/xml"


@router.options("")
@router.options("/")
def capabilities(request: Request, _caller: ReadsDicom) -> Response:
    """Describe the service."""
    accept = accept_of(request)
    media_type = next((each for each in (WADL, _XML) if accepts(accept, each)), None)
    if media_type is None:
        raise NotAcceptable(f"capabilities come as {WADL}")
    return Response(described(base_of(request)), media_type=media_type)


@lru_cache(maxsize=8)  # the base is what the client calls us
def described(base: str) -> bytes:
    """Return the description of the service at a base address, as WADL."""
    application = Xml.Element("application", xmlns=_NAMESPACE)
    root = Xml.SubElement(application, "resources", base=f"{base}/")
    for each in TRANSACTIONS:
        if each.method != "WS":  # no method of HTTP, and nothing that WADL can say
            _add_method(_resource(root, each.template), each)
    Xml.indent(application)
    document: bytes = Xml.tostring(application, encoding="utf-8", xml_declaration=True)
    return document


def _resource(root: Xml.Element, template: str) -> Xml.Element:
    """Return the element of a resource, made with all above it where it is not there yet."""
    at = root
    for step in filter(None, template.split("/")):
        found = next((each for each in at if each.get("path") == step), None)
        at = Xml.SubElement(at, "resource", path=step) if found is None else found
    return at if at is not root else _service(root)


def _service(root: Xml.Element) -> Xml.Element:
    return Xml.SubElement(root, "resource", path="/")


def _add_method(resource: Xml.Element, transaction: Transaction) -> None:
    method = Xml.SubElement(resource, "method", name=transaction.method, id=transaction.id)
    request = Xml.SubElement(method, "request")
    if transaction.gives:
        accept = Xml.SubElement(request, "param", name="Accept", style="header")
        for each in transaction.gives:
            Xml.SubElement(accept, "option", value=each)
    for name in transaction.asks:
        Xml.SubElement(request, "param", name=name, style="query")
    for each in transaction.takes:
        Xml.SubElement(request, "representation", mediaType=each)
    response = Xml.SubElement(method, "response")
    for each in transaction.gives:
        Xml.SubElement(response, "representation", mediaType=each)
