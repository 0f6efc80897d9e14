"""Orthanc servers that we follow: how one is registered, and how far we have come.  Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from dicom_node import charsets
from dicom_node.errors import OrthancInvalid

MAX_ORTHANCS = 200
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MAX_URL = 500
_MAX_USER = 64
_MAX_ISSUER = 64
_LONGEST_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthanc:
    """A registered Orthanc; its password is kept apart, in a file of this host.

    `issuer` is who gives out the patient ids of objects without (0010,0021); `ca_file` is a PEM
    file of authorities that its certificate may come from, empty for those of the system.
    """

    name: str
    url: str
    organisation_id: str
    issuer: str
    username: str = ""
    character_set: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last look did not succeed, and when."""

    code: str
    sentence: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an Orthanc was followed.

    Everything up to `last_change` is durable here; `print` recognises that change again, so that
    another database behind the same address is noticed; `newest` is the last change it told of.
    """

    last_change: int = 0
    print: str = ""
    newest: int = 0
    seen_at: datetime | None = None
    failures: int = 0
    next_at: datetime | None = None
    trouble: Trouble | None = None
    started_over_at: datetime | None = None
    started_over_why: str = ""

    @property
    def backlog(self) -> int:
        """How many changes were still to be looked at when we last looked."""
        return max(0, self.newest - self.last_change)


def checked(orthanc: Orthanc) -> Orthanc:
    """Return the Orthanc if it can be one.

    Raises
    ------
    OrthancInvalid
        Its name, URL, user, issuer or character set cannot be one.
    """
    if _NAME.fullmatch(orthanc.name) is None:
        raise OrthancInvalid("a name has 1 to 32 characters of a-z, 0-9 and '-'")
    _require_url(orthanc.url)
    if len(orthanc.username) > _MAX_USER or ":" in orthanc.username:
        raise OrthancInvalid("a user name has at most 64 characters and no colon (RFC 7617)")
    if not 0 < len(orthanc.issuer) <= _MAX_ISSUER:
        raise OrthancInvalid("an Orthanc needs an issuer of patient ids of at most 64 characters")
    if orthanc.character_set and not charsets.is_known(orthanc.character_set):
        raise OrthancInvalid("the character set is no defined term")
    return orthanc


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise OrthancInvalid("the URL of an Orthanc cannot be read") from None
    if len(url) > _MAX_URL or parts.scheme not in ("http", "https") or not host:
        raise OrthancInvalid("the URL of an Orthanc is http://host:port/ or https://host:port/")
    if parts.username is not None or parts.password is not None:
        raise OrthancInvalid("user and password do not belong into the URL of an Orthanc")
    if parts.query or parts.fragment or any(c.isspace() or c == "\\" for c in url):
        raise OrthancInvalid("the URL of an Orthanc has no query, no fragment and no spaces")


def pause_after(failures: int, *, poll: timedelta) -> timedelta:
    """Return when to look again: soon if it went well, later and later if it did not."""
    doublings: int = 2 ** min(failures, 16)
    return min(poll * doublings, max(_LONGEST_PAUSE, poll))
