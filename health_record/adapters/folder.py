"""The embedded health record: one folder a document, which appears whole or not at all.

``<root>/<case id>/<report id>-v<version>/`` holds the FHIR document Bundle, its detached seal if
the organisation has one, and the signed PDF.  Names are ids only, never a sender's or a patient's
text.
"""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from health_record.errors import FolderFull, FolderUnwritable
from health_record.port import Form, OutgoingDocument, Receipt, Rejected
from kernel.digest import sha256_of
from kernel.errors import Corrupt

BUNDLE = "bundle.json"
SEAL = "bundle.json.p7s"
REPORT = "report.pdf"
CONFLICT = "health_record.conflict"
LOCK = ".lock"
_ARRIVING = ".arriving"
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")

BundleSealer = Callable[[bytes], bytes]


class FolderRecord:
    """Writes each document durably below `root`; `sealer` makes the detached CMS signature."""

    form = Form.DOCUMENT

    def __init__(self, root: Path, sealer: BundleSealer | None = None) -> None:
        self._root = root
        self._sealer = sealer

    def submit(self, document: OutgoingDocument) -> Receipt | Rejected:
        """See `RecordAdapter.submit`."""
        target = self._place(document)
        reference = target.relative_to(self._root).as_posix()
        with _named_failures():
            if not target.exists():
                self._write(document, target)
            if not self._holds(target, document):
                return Rejected(CONFLICT, f"the folder {reference} holds another document")
            # Also for what was found there: an attempt killed before this had not yet made the
            # name durable, and the receipt must not outlive the document.
            _sync(target.parent)
            _sync(self._root)
        return Receipt(reference)

    def _place(self, document: OutgoingDocument) -> Path:
        for one in (document.case_id, document.report_id, document.delivery_id):
            if _SAFE_ID.fullmatch(one) is None:
                raise Corrupt("an id that may not name a folder was to be filed", id=one)
        name = f"{document.report_id}-v{document.report_version}"
        return self._root / document.case_id / name

    def _write(self, document: OutgoingDocument, target: Path) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(self._root / LOCK):
            if target.exists():
                return  # somebody was faster; what they filed is compared by the caller
            # Whoever holds the lock is the only one who writes, so what lies there is of attempts
            # that were killed: never of one in flight, whose files would go with its folder.
            arriving = self._root / _ARRIVING
            shutil.rmtree(arriving, ignore_errors=True)
            try:
                self._put_in_place(document, arriving / document.delivery_id, target)
            finally:
                shutil.rmtree(arriving, ignore_errors=True)

    def _put_in_place(self, document: OutgoingDocument, part: Path, target: Path) -> None:
        part.mkdir(parents=True)
        for name, content in self._files(document).items():
            _write_durably(part / name, content)
        _sync(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.rename(target)

    def _files(self, document: OutgoingDocument) -> dict[str, bytes]:
        files = {BUNDLE: document.body, REPORT: document.pdf}
        if self._sealer is not None:
            files[SEAL] = self._sealer(document.body)
        return files

    def _holds(self, target: Path, document: OutgoingDocument) -> bool:
        return (
            sha256_of((target / BUNDLE).read_bytes()) == document.body_sha256
            and sha256_of((target / REPORT).read_bytes()) == document.pdf_sha256
        )


@contextmanager
def _one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold the lock of the folder; the kernel gives it back for a process that was killed."""
    with lock.open("ab") as file:
        # On a file opened to write, not on the folder: NFS has no other kind.
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FolderFull("the disk of the health record folder is full") from error
        raise FolderUnwritable(
            f"the health record folder cannot be written: {error.strerror}"
        ) from error


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
