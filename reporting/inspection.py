"""Re-examining every sealed document, as `telerad verify` does."""

from collections.abc import Iterator
from dataclasses import dataclass

from kernel.digest import sha256_of
from kernel.errors import Corrupt, EngineError, NotFound
from reporting import store
from reporting.document import SealedDocument
from reporting.trust import Trust
from reporting.verify import check
from storage.engine import Database
from storage.objects import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one sealed document; `problem` is None when it is whole."""

    report_id: str
    version: int
    problem: str | None


def verify_all(database: Database, objects: ObjectStore, trust: Trust) -> Iterator[Finding]:
    """Yield one finding for each sealed document: digests, signature, trust, content.

    No transaction is open while a document is read and examined.
    """
    with database.reading() as tx:
        names = list(store.all_sealed(tx))
    for report_id, version in names:
        yield Finding(
            report_id=report_id,
            version=version,
            problem=_problem(database, objects, trust, report_id, version),
        )


def _problem(
    database: Database, objects: ObjectStore, trust: Trust, report_id: str, version: int
) -> str | None:
    try:
        with database.reading() as tx:
            document = store.sealed(tx, report_id, version)
        if document is None:
            return "the sealed document is gone from the database"
        return _file_problem(objects, document) or _seal_problem(objects, trust, document)
    except (Corrupt, NotFound) as error:
        return _sentence(error)


def _file_problem(objects: ObjectStore, document: SealedDocument) -> str | None:
    for name, key, digest in (
        ("signed PDF", document.pdf_key, document.pdf_sha256),
        ("SR", document.sr_key, document.sr_sha256),
    ):
        if sha256_of(objects.get(key)) != digest:
            return f"the stored {name} was changed"
    return None


def _seal_problem(objects: ObjectStore, trust: Trust, document: SealedDocument) -> str | None:
    return check(
        objects.get(document.pdf_key),
        trust,
        content_digest=document.content_digest,
        at=document.signed_at,
    ).problem


def _sentence(error: EngineError) -> str:
    return error.sentence
