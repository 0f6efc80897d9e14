"""The health record of tests: the same promises, for the lifetime of the process."""

import threading

import structlog

from health_record.errors import RecordUnavailable
from health_record.port import Form, OutgoingDocument, Receipt, Rejected
from kernel.errors import Misconfigured

CONFLICT = "health_record.conflict"
_log = structlog.get_logger(__name__)


class MemoryRecord:
    """A twin that keeps what it was given; it says so, and refuses to start in production.

    Parameters
    ----------
    production
        Whether the deployment is a real one.

    Raises
    ------
    Misconfigured
        It is.
    """

    form = Form.DOCUMENT

    def __init__(self, *, production: bool) -> None:
        if production:
            raise Misconfigured("the in-memory health record keeps nothing: not for production")
        _log.warning("record.in_memory")
        self.documents: dict[tuple[str, int], OutgoingDocument] = {}
        self.reachable = True
        self._lock = threading.Lock()

    def submit(self, document: OutgoingDocument) -> Receipt | Rejected:
        """See `RecordAdapter.submit`."""
        if not self.reachable:
            raise RecordUnavailable("the in-memory health record was made unreachable")
        key = (document.report_id, document.report_version)
        with self._lock:
            kept = self.documents.setdefault(key, document)
        if kept.body_sha256 != document.body_sha256:
            return Rejected(CONFLICT, "the record holds another document of this report version")
        return Receipt(f"memory:{document.report_id}/{document.report_version}")
