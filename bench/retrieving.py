"""Clients that retrieve: DCMTK's, and a plain socket for DICOMweb."""

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

from bench.servers import CALLER, Receiver

_BUFFER_BYTES = 1 << 20
_WITHIN_S = 600


@dataclass(frozen=True, slots=True)
class Place:
    """An archive that is asked: where its node and its DICOMweb answer."""

    receiver: Receiver
    dicomweb: str
    headers: Mapping[str, str]


def moved(place: Place, *, study_uid: str, to: Receiver) -> float:
    """Have a study moved to a receiver; return the seconds it took."""
    return _asked("movescu", place, study_uid, "-aem", to.ae_title)


def got(place: Place, *, study_uid: str) -> float:
    """Get a study on the same association, as DCMTK takes it and drops it; return the seconds."""
    return _asked("getscu", place, study_uid, "--ignore")


def fetched(place: Place, *, path: str, headers: Mapping[str, str]) -> float:
    """Get a resource to its last byte; return the seconds it took.

    Raises
    ------
    RuntimeError
        The answer is not 200, or was cut short.
    """
    address = urlsplit(place.dicomweb)
    told = {"Host": address.netloc, "Connection": "close", **place.headers, **headers}
    lines = [f"GET {address.path}{path} HTTP/1.1", *(f"{k}: {v}" for k, v in told.items()), "", ""]
    buffer = bytearray(_BUFFER_BYTES)
    began = monotonic()
    with socket.create_connection((address.hostname, address.port), _WITHIN_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall("\r\n".join(lines).encode())
        head = connection.recv(_BUFFER_BYTES)
        while connection.recv_into(buffer):
            pass
    took = monotonic() - began
    if b" 200 " not in head[:16]:
        raise RuntimeError(f"{place.receiver.name}: {head[:200]!r}")
    return took


def _asked(program: str, place: Place, study_uid: str, *more: str) -> float:
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid}"]
    began = monotonic()
    done = subprocess.run(
        [program, "-v", "-S", "-aet", CALLER, "-aec", place.receiver.ae_title, *more, *keys,
         "127.0.0.1", str(place.receiver.port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_WITHIN_S,
        env={**os.environ, "TCP_NODELAY": "1"},
    )  # fmt: skip
    took = monotonic() - began
    if done.returncode or "Success" not in done.stdout + done.stderr:
        raise RuntimeError(f"{place.receiver.name}: {program} failed: {done.stderr[-500:]}")
    return took
