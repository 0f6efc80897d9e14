"""What a DICOMweb client will take (PS3.18 sections 8.3.3 and 8.7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request

from app.http.errors import NotAcceptable
from app.http.multipart import media_type
from dicom_node.uids import EXPLICIT_LITTLE

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
OCTETS = "application/octet-stream"
PNG = "image/png"
JPEG = "image/jpeg"
ANY = "*"
_JSON = frozenset({DICOM_JSON, "application/json"})
_WILD = frozenset({"*/*", "multipart/*", "application/*"})
_RENDERED = (JPEG, PNG)
_MAX_ACCEPT = 8192


@dataclass(frozen=True, slots=True)
class Form:
    """How instances are given: in parts or one alone, and in which transfer syntax.

    `syntaxes` holds UIDs in the order of preference; ``*`` stands for 'as it is stored'.  A client
    that names none is given as it is stored what has no uncompressed form (`else_stored`).

    References
    ----------
    DICOM PS3.18 section 8.7.3.5.2.
    """

    multipart: bool
    syntaxes: tuple[str, ...]
    else_stored: bool = False

    def takes(self, stored: str) -> bool:
        """Say whether an instance may be given as it is stored."""
        return ANY in self.syntaxes or stored in self.syntaxes


@dataclass(frozen=True, slots=True)
class Model:
    """In which model data sets are given: JSON, or XML in parts or alone."""

    media_type: str
    multipart: bool = False

    @property
    def is_xml(self) -> bool:
        """Whether it is the Native DICOM Model."""
        return self.media_type == DICOM_XML


@dataclass(frozen=True, slots=True)
class Taken:
    """One form in which a client takes bulk data, the best first.

    `syntax` is empty where the client named none; `quality` is how much it likes this form.
    """

    multipart: bool
    media_type: str
    syntax: str
    quality: float = 1.0


def accept_of(request: Request) -> str:
    """Return what a client takes; the parameter in the address outweighs the header.

    References
    ----------
    DICOM PS3.18 section 8.3.3.1.
    """
    asked = request.query_params.get("accept") or request.headers.get("accept", "")
    if len(asked) > _MAX_ACCEPT:
        raise NotAcceptable("the list of accepted media types is too long")
    return asked


def asked_instances(accept: str, *, single: bool) -> Sequence[Form]:
    """Return how instances may be given, the form that the client likes best first.

    A client that names no form gets them as they are stored; one that asks for application/dicom
    without a transfer syntax gets Explicit VR Little Endian, or else what is stored (PS3.18 section
    8.7.3.5.2).

    Parameters
    ----------
    single
        One instance is asked for, which may come alone.

    Raises
    ------
    NotAcceptable
        Nothing that the client takes can be given.
    """
    syntaxes: dict[bool, list[str]] = {}
    liked: dict[bool, float] = {}
    for name, parameters in _preferred(accept):
        syntax = parameters.get("transfer-syntax", "")
        if name in _WILD:
            multipart, syntax = True, ANY
        elif name == "multipart/related" and parameters.get("type", DICOM).lower() == DICOM:
            multipart = True
        elif name == DICOM and single:
            multipart = False
        else:
            continue
        syntaxes.setdefault(multipart, []).append(syntax)
        liked.setdefault(multipart, _quality(parameters))
    if syntaxes:  # one instance comes alone, where both forms are liked alike
        best_first = sorted(syntaxes, key=lambda multipart: (-liked[multipart], multipart))
        return [_form(multipart, syntaxes[multipart]) for multipart in best_first]
    raise NotAcceptable('instances come as multipart/related; type="application/dicom"')


def _form(multipart: bool, asked: Sequence[str]) -> Form:
    syntaxes = tuple(each or EXPLICIT_LITTLE for each in asked)
    return Form(multipart, syntaxes, else_stored="" in asked)


def asked_model(accept: str, *, single: bool = False) -> Model:
    """Return the model of data sets that a client takes.

    Parameters
    ----------
    single
        There is one data set, which may come alone in XML.

    Raises
    ------
    NotAcceptable
        It takes none that is offered.
    """
    for name, parameters in _preferred(accept):
        if name in _JSON:
            return Model(name)
        if name in _WILD:
            return Model(DICOM_JSON)
        if name == DICOM_XML and single:
            return Model(DICOM_XML)
        if name == "multipart/related" and parameters.get("type", "").lower() == DICOM_XML:
            return Model(DICOM_XML, multipart=True)
    raise NotAcceptable(
        f'data sets come as {DICOM_JSON}, or in parts as multipart/related; type="{DICOM_XML}"'
    )


def asked_bulk(accept: str) -> list[Taken]:
    """Return the forms in which a client takes frames or bulk data, the best first."""
    found: list[Taken] = []
    for name, parameters in _preferred(accept):
        syntax, quality = parameters.get("transfer-syntax", ""), _quality(parameters)
        if name == "multipart/related":
            found.append(Taken(True, parameters.get("type", OCTETS).lower(), syntax, quality))
        elif name in {"*/*", "multipart/*"}:
            found.append(Taken(True, "*/*", ANY, quality))
        else:
            found.append(Taken(False, name, syntax, quality))
    return found


def asked_picture(accept: str) -> str:
    """Return the media type of a rendered picture; JPEG where the client leaves it open.

    Raises
    ------
    NotAcceptable
        It takes no picture that can be made (PS3.18 section 8.7.4 asks for JPEG at least).
    """
    for outer, parameters in _preferred(accept):
        in_parts = outer == "multipart/related"
        name = parameters.get("type", "").lower() if in_parts else outer
        if name in {"*/*", "image/*", "multipart/*"}:
            return JPEG
        if name in _RENDERED:
            return name
    raise NotAcceptable("pictures come as image/jpeg or image/png")


def accepts(accept: str, media_type: str) -> bool:
    """Say whether a client takes a media type; one that leaves it open takes all."""
    ranges = {media_type, media_type.split("/")[0] + "/*", "*/*"}
    return not accept or any(name in ranges for name, _ in _preferred(accept))


def takes_parts(accept: str) -> bool:
    """Say whether the form that the client likes best is in parts."""
    preferred = _preferred(accept)
    return bool(preferred) and preferred[0][0].startswith("multipart/")


def _preferred(accept: str) -> list[tuple[str, Mapping[str, str]]]:
    """Return the media ranges of an Accept header, those of the highest quality first."""
    ranges = [media_type(item) for item in _items(accept or "*/*")]
    kept = [(name, parameters) for name, parameters in ranges if _quality(parameters) > 0]
    return sorted(kept, key=lambda item: -_quality(item[1]))


def _items(accept: str) -> list[str]:
    """Split at commas that stand outside of quotes."""
    items, quoted, start = [], False, 0
    for at, character in enumerate(accept):
        quoted ^= character == '"'
        if character == "," and not quoted:
            items.append(accept[start:at])
            start = at + 1
    return [text for text in (*items, accept[start:]) if text.strip()]


def _quality(parameters: Mapping[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
