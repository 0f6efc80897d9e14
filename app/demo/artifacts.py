"""Copies of what the demo made, under names that a person or a script finds again."""

from pathlib import Path

import reporting
from app.bootstrap import Parts
from health_record import commands as health_record
from storage import archive
from worklist.case import Case


def keep(parts: Parts, case: Case, folder: Path) -> dict[str, object]:
    """Write the documents and instances of a completed case into a folder; return their paths.

    The instances are read back through the archive, as whole Part 10 files.
    """
    with parts.database.reading() as tx:
        document = reporting.sealed_for_case(tx, case.id)[-1]
        entries = archive.manifest(tx, case.study_uid).entries
    folder.mkdir(parents=True, exist_ok=True)
    pdf, sr, bundle = (folder / name for name in ("report.pdf", "report.dcm", "bundle.json"))
    pdf.write_bytes(parts.objects.get(document.pdf_key))
    sr.write_bytes(parts.objects.get(document.sr_key))
    bundle.write_bytes(_filed(parts, case))
    instances = folder / "instances"
    instances.mkdir(exist_ok=True)
    stored = []
    for entry in entries:
        file = instances / f"{entry.instance_uid}.dcm"
        file.write_bytes(parts.archive.read(entry.instance_uid))
        stored.append(str(file))
    return {
        "case": case.id,
        "study": case.study_uid,
        "pdf": str(pdf),
        "sr": str(sr),
        "bundle": str(bundle),
        "instances": stored,
    }


def _filed(parts: Parts, case: Case) -> bytes:
    """Return the document as it lies in the folder, or as it went to a server."""
    written = [*(parts.settings.data / "record" / case.id).rglob("bundle.json")]
    if written:
        return max(written, key=lambda path: path.stat().st_mtime_ns).read_bytes()
    with parts.database.reading() as tx:
        sent = [d.prepared for d in health_record.list_deliveries(tx, case_id=case.id)]
    return parts.objects.get(next(prepared.key for prepared in sent if prepared is not None))
