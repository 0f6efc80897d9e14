"""``python -m bench [NAME ...]``: JSON rows on standard output, a table on standard error.

Without a name everything is measured and ``docs/bench.md`` is written.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench import ingest, query, report, retrieve, s3, size, start
from bench.machine import described
from bench.row import Row
from bench.table import as_text

ROOT = Path(__file__).resolve().parent.parent
MEASUREMENTS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    "start": start.measure,
    "size": size.measure,
    "ingest": ingest.measure,
    "query": query.measure,
    "retrieve": retrieve.measure,
    "s3": s3.measure,
}


def main(names: list[str]) -> int:
    """Measure what is named; return the exit status."""
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        sys.stderr.write(f"there is no measurement '{unknown[0]}': {', '.join(MEASUREMENTS)}\n")
        return 2
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the project and not in a memory file system: every server waits for the same disk.
    scratch = Path(tempfile.mkdtemp(dir=folder))
    tempfile.tempdir = str(scratch)
    machine = described(folder)
    try:
        measured = {name: _measured(name, scratch) for name in names or MEASUREMENTS}
    finally:
        shutil.rmtree(scratch)
    if not names:
        text = report.written(measured, machine, datetime.now(UTC))
        (ROOT / "docs" / "bench.md").write_text(text)
    return 0


def _measured(name: str, scratch: Path) -> list[Row]:
    sys.stderr.write(f"bench: {name}\n")
    rows = []
    for row in MEASUREMENTS[name](scratch):
        rows.append(row)
        sys.stdout.write(row.as_json() + "\n")
        sys.stdout.flush()
    sys.stderr.write(as_text(rows) + "\n")
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
