"""One Orthanc, spoken to by its REST interface: the only place that does.

Nothing that it answers is believed further than it must be: ids are checked before they become
part of an address, answers are bounded before they are held, redirects are not followed, and an
answer must come on at a least pace.

References
----------
The Orthanc Book, "REST API of Orthanc", sections on changes, instances and attachments.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from dicom_node.errors import (
    OrthancAnswersBadly,
    OrthancDeniesAccess,
    OrthancLacks,
    OrthancRefuses,
    OrthancUnreachable,
)
from dicom_node.orthancs import Orthanc
from kernel.clock import monotonic_s
from kernel.errors import EngineError

CHANGES_AT_ONCE = 100
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_MD5 = re.compile(rb"[0-9a-f]{32}")
_CHUNK = 1 << 18
_JUDGED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_DENIED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long an Orthanc may be silent or slow, and how much it may say (bytes).

    After `grace` an answer must have come at `pace` (bytes/s) at least.
    """

    connect: timedelta = timedelta(seconds=5)
    silence: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(minutes=2)
    pace: int = 4096
    answer: int = 32 << 20
    instance: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Change:
    """One line of what happened in an Orthanc."""

    number: int
    kind: str
    id: str
    date: str

    @property
    def print(self) -> str:
        """What recognises this change among those of another database."""
        told = f"{self.number}|{self.kind}|{self.id}|{self.date}"
        return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RemoteStudy:
    """A study as an Orthanc holds it now."""

    id: str
    study_uid: str
    series: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoteInstance:
    """An instance as an Orthanc holds it now; another file of it has another `file_uuid`."""

    id: str
    instance_uid: str
    file_uuid: str
    size: int


@dataclass(slots=True)
class Download:
    """The bytes of an instance as they come; `md5` is right once all were taken."""

    _chunks: Iterator[bytes]
    _md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._md5.update(chunk)
            yield chunk

    @property
    def md5(self) -> str:
        """The digest that Orthanc keeps of its files."""
        return str(self._md5.hexdigest())


def md5_of(data: bytes) -> str:
    """Return the digest that Orthanc would keep of a file."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Remote:
    """Speaks with one Orthanc; used by one thread at a time."""

    def __init__(self, orthanc: Orthanc, password: str, bounds: Bounds | None = None) -> None:
        from orthanc_api_client import OrthancApiClient  # much, where no Orthanc is followed

        self._bounds = bounds or Bounds()
        self._verify: str | bool = orthanc.ca_file or True
        root = orthanc.url if orthanc.url.endswith("/") else f"{orthanc.url}/"
        self._client = OrthancApiClient(root, user=orthanc.username, pwd=password)
        session = self._client._http_session
        # Proxies and certificates are those of the registration, not of who started the process.
        session.trust_env = False
        # Retrying has one owner, and that is not the library.
        adapter = session.get_adapter(root)
        adapter.max_retries = adapter.max_retries.new(total=0)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def newest_change(self) -> int:
        """Return the number of the last change; 0 if there was none."""
        return _number(self._json("changes?last"), "Last")

    def changes(self, since: int, limit: int = CHANGES_AT_ONCE) -> list[Change]:
        """Return the changes behind a number, in order."""
        told = self._json(f"changes?since={since}&limit={limit}")
        found = [_change(each) for each in _list(told, "Changes")]
        numbers = [change.number for change in found]
        if numbers != sorted(set(numbers)) or (numbers and numbers[0] <= since):
            raise OrthancAnswersBadly("the changes of the Orthanc are not in order")
        return found

    def study(self, id: str) -> RemoteStudy:
        """Return a study by Orthanc's id of it."""
        return _study(self._json(f"studies/{_checked(id)}"))

    def study_of(self, instance_id: str) -> RemoteStudy:
        """Return the study that an instance belongs to."""
        return _study(self._json(f"instances/{_checked(instance_id)}/study"))

    def instance(self, id: str) -> RemoteInstance:
        """Return one instance."""
        return _instance(self._json(f"instances/{_checked(id)}"))

    def instances_of(self, series_id: str) -> list[RemoteInstance]:
        """Return the instances of a series."""
        told = self._json(f"series/{_checked(series_id)}/instances")
        if not isinstance(told, list):
            raise OrthancAnswersBadly("the Orthanc did not list the instances of a series")
        return [_instance(each) for each in told]

    def md5(self, id: str) -> str | None:
        """Return the MD5 of the file as Orthanc took it in; None where it keeps none."""
        try:
            told = self._bytes(f"instances/{_checked(id)}/attachments/dicom/md5")
        except OrthancLacks:
            return None
        return told.decode() if _MD5.fullmatch(told) else None

    @contextmanager
    def download(self, id: str) -> Iterator[Download]:
        """Open the Part 10 file of an instance."""
        response = self._get(f"instances/{_checked(id)}/file")
        try:
            yield Download(self._chunks(response, self._bounds.instance))
        finally:
            response.close()

    def find(self, instance_uid: str) -> list[str]:
        """Return Orthanc's ids of the instances with a SOP Instance UID."""
        response = self._ask("post", "tools/lookup", data=instance_uid.encode("ascii"))
        told = _parsed(self._whole(response))
        if not isinstance(told, list):
            raise OrthancAnswersBadly("the Orthanc did not answer a look-up")
        return [
            _checked(str(each.get("ID")))
            for each in told
            if isinstance(each, dict) and each.get("Type") == "Instance"
        ]

    def upload(self, part10: bytes) -> str:
        """Bring an instance; return Orthanc's id of it, which it gives once it has it.

        Raises
        ------
        OrthancRefuses
            It takes no such object.
        """
        response = self._ask("post", "instances", data=part10)
        told = _parsed(self._whole(response))
        if not isinstance(told, dict) or told.get("Status") not in ("Success", "AlreadyStored"):
            raise OrthancRefuses("the Orthanc did not keep the object")
        return _checked(str(told.get("ID")))

    def _json(self, path: str) -> Any:
        return _parsed(self._bytes(path))

    def _bytes(self, path: str) -> bytes:
        return self._whole(self._get(path))

    def _whole(self, response: Any) -> bytes:
        try:
            return b"".join(self._chunks(response, self._bounds.answer))
        finally:
            response.close()

    def _get(self, path: str) -> Any:
        return self._ask("get", path)

    def _ask(self, method: str, path: str, **content: Any) -> Any:
        """Return an answer of success whose body was not taken yet."""
        from orthanc_api_client.exceptions import OrthancApiException

        bounds = self._bounds
        try:
            response = getattr(self._client, method)(
                path,
                stream=True,
                allow_redirects=False,
                verify=self._verify,
                timeout=(bounds.connect.total_seconds(), bounds.silence.total_seconds()),
                headers={"Accept-Encoding": "identity"},
                # Before the library reads the body of a refusal, which nothing would bound.
                hooks={"response": _require_success},
                **content,
            )
        except (OrthancApiException, OSError) as error:
            raise _unreachable(error) from error
        if response is None:  # the library passes over some failures of its transport
            raise OrthancUnreachable("the Orthanc broke the connection off")
        return response

    def _chunks(self, response: Any, most: int) -> Iterator[bytes]:
        began, taken = monotonic_s(), 0
        try:
            for chunk in response.iter_content(_CHUNK):
                taken += len(chunk)
                if taken > most:
                    raise OrthancRefuses(f"the Orthanc answers with more than {most} bytes")
                self._require_pace(taken, monotonic_s() - began)
                yield chunk
        except OSError as error:  # what requests raises while a body comes
            raise OrthancUnreachable("the Orthanc broke an answer off") from error

    def _require_pace(self, taken: int, elapsed_s: float) -> None:
        bounds = self._bounds
        if elapsed_s > bounds.grace.total_seconds() and taken < bounds.pace * elapsed_s:
            raise OrthancUnreachable("the Orthanc is too slow to come to an end")


def _require_success(response: Any, *_: Any, **__: Any) -> None:
    status = response.status_code
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    response.close()
    raise _refusal(status)


def _refusal(status: int) -> EngineError:
    if status in _DENIED:
        return OrthancDeniesAccess(f"the Orthanc does not let us in (HTTP {status})")
    if status == HTTPStatus.NOT_FOUND:
        return OrthancLacks("the Orthanc does not hold this, or not any more")
    if status in _JUDGED:
        return OrthancRefuses(f"the Orthanc does not take the object (HTTP {status})")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return OrthancAnswersBadly("the Orthanc sends us elsewhere: register where it really is")
    return OrthancAnswersBadly(f"the Orthanc failed (HTTP {status})")


def _unreachable(error: BaseException) -> OrthancUnreachable:
    """Return what to tell; the library wraps what happened, and its texts hold the address."""
    seen: BaseException | None = error
    names: list[str] = []
    while seen is not None and len(names) < 8:
        names.append(type(seen).__name__)
        seen = seen.__cause__ or seen.__context__
    if any("SSL" in name or "Cert" in name for name in names):
        return OrthancUnreachable("the certificate of the Orthanc is not trusted")
    if any("Timeout" in name for name in names):
        return OrthancUnreachable("the Orthanc does not answer in time")
    return OrthancUnreachable("the Orthanc cannot be reached")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OrthancAnswersBadly("the Orthanc did not answer with JSON") from error


def _checked(id: str) -> str:
    """Return an id of Orthanc: five groups of a SHA-1, and nothing that changes an address."""
    if _ID.fullmatch(id) is None:
        raise OrthancAnswersBadly("the Orthanc told an id that is none of its own kind")
    return id


def _number(told: Any, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise OrthancAnswersBadly(f"the answer of the Orthanc lacks '{name}'")
    return value


def _list(told: Any, name: str) -> list[Any]:
    value = told.get(name) if isinstance(told, dict) else None
    if not isinstance(value, list):
        raise OrthancAnswersBadly(f"the answer of the Orthanc lacks '{name}'")
    return value


def _text(told: Any, name: str) -> str:
    value = told.get(name) if isinstance(told, dict) else None
    return value[:400] if isinstance(value, str) else ""


def _change(told: Any) -> Change:
    number = _number(told, "Seq")
    return Change(number, _text(told, "ChangeType"), _text(told, "ID"), _text(told, "Date"))


def _study(told: Any) -> RemoteStudy:
    tags = told.get("MainDicomTags") if isinstance(told, dict) else None
    series = tuple(_checked(str(each)) for each in _list(told, "Series"))
    return RemoteStudy(_checked(_text(told, "ID")), _text(tags, "StudyInstanceUID"), series)


def _instance(told: Any) -> RemoteInstance:
    tags = told.get("MainDicomTags") if isinstance(told, dict) else None
    return RemoteInstance(
        id=_checked(_text(told, "ID")),
        instance_uid=_text(tags, "SOPInstanceUID"),
        file_uuid=_text(told, "FileUuid")[:64],
        size=_number(told, "FileSize"),
    )
