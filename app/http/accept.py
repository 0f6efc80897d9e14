"""What a DICOMweb client will take (PS3.18 section 8.3.3 and 8.7)."""

from dataclasses import dataclass

from app.http.errors import NotAcceptable
from app.http.multipart import media_type

DICOM = "application/dicom"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
ANY = "*"
_JSON = frozenset({"application/dicom+json", "application/json"})
_WILD = frozenset({"*/*", "multipart/*", "application/*"})


@dataclass(frozen=True, slots=True)
class Form:
    """How instances are given: in parts or one alone, and in which transfer syntax.

    `syntaxes` holds UIDs in the order of preference; ``*`` stands for 'as it is stored'.
    """

    multipart: bool
    syntaxes: tuple[str, ...]

    def takes(self, stored: str) -> bool:
        """Say whether an instance may be given as it is stored."""
        return ANY in self.syntaxes or stored in self.syntaxes


def asked_instances(accept: str, *, single: bool) -> Form:
    """Return how instances are to be given.

    A client that names no form gets them as they are stored; one that asks for application/dicom
    without a transfer syntax gets Explicit VR Little Endian (PS3.18 section 8.7.3.5.2).

    Parameters
    ----------
    single
        One instance is asked for, which may come alone.

    Raises
    ------
    NotAcceptable
        Nothing that the client takes can be given.
    """
    multipart: list[str] = []
    alone: list[str] = []
    for name, parameters in _preferred(accept):
        syntax = parameters.get("transfer-syntax", EXPLICIT_LITTLE)
        if name == "multipart/related" and parameters.get("type", DICOM).lower() == DICOM:
            multipart.append(syntax)
        elif name == DICOM and single:
            alone.append(syntax)
        elif name in _WILD:
            multipart.append(ANY)
    if alone:
        return Form(False, tuple(alone))
    if multipart:
        return Form(True, tuple(multipart))
    raise NotAcceptable('instances come as multipart/related; type="application/dicom"')


def require_json(accept: str) -> None:
    """Refuse a client that does not take the DICOM JSON model.

    Raises
    ------
    NotAcceptable
        It does not.
    """
    if not any(name in _JSON | _WILD for name, _ in _preferred(accept)):
        raise NotAcceptable("this resource comes as application/dicom+json")


def _preferred(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return the media ranges of an Accept header, those of the highest quality first."""
    ranges = [media_type(item) for item in _items(accept or "*/*")]
    kept = [(name, parameters) for name, parameters in ranges if _quality(parameters) > 0]
    return sorted(kept, key=lambda item: -_quality(item[1]))


def _items(accept: str) -> list[str]:
    """Split at commas that stand outside of quotes."""
    items, quoted, item = [], False, ""
    for character in accept:
        quoted ^= character == '"'
        if character == "," and not quoted:
            items.append(item)
            item = ""
        else:
            item += character
    return [text for text in (*items, item) if text.strip()]


def _quality(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
