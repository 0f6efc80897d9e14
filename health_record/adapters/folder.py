"""The embedded health record: one folder a document, which appears whole or not at all.

``<root>/<case id>/<report id>-v<version>/`` holds the FHIR document Bundle, its detached seal if
the organisation has one, and the signed PDF.  Names are ids only, never a sender's or a patient's
text.
"""

import errno
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
from kernel.ids import fresh

BUNDLE = "bundle.json"
SEAL = "bundle.json.p7s"
REPORT = "report.pdf"
CONFLICT = "health_record.conflict"
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
        arriving = self._root / _ARRIVING
        arriving.mkdir(parents=True, exist_ok=True)
        for left_over in arriving.glob(f"{document.delivery_id}-*"):
            # An attempt that was killed, or a second one in flight: that one is told that it
            # could not write, comes again, and then finds the document filed.
            shutil.rmtree(left_over, ignore_errors=True)
        part = arriving / f"{document.delivery_id}-{fresh()}"
        part.mkdir()
        try:
            for name, content in self._files(document).items():
                _write_durably(part / name, content)
            _sync(part)
            self._put_in_place(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _files(self, document: OutgoingDocument) -> dict[str, bytes]:
        files = {BUNDLE: document.body, REPORT: document.pdf}
        if self._sealer is not None:
            files[SEAL] = self._sealer(document.body)
        return files

    def _put_in_place(self, part: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # Somebody was faster; what they filed is compared by the caller.

    def _holds(self, target: Path, document: OutgoingDocument) -> bool:
        return (
            sha256_of((target / BUNDLE).read_bytes()) == document.body_sha256
            and sha256_of((target / REPORT).read_bytes()) == document.pdf_sha256
        )


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
