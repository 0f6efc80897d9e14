"""The document of the measurements: what was measured, on what, and what falls short."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bench.machine import Machine
from bench.row import Row
from bench.table import as_markdown

_HEAD = """# Measurements

Written by `make bench`; do not edit. `make -s bench-NAME` measures one part again and prints one
JSON line a row.

Ours and the peers are measured in turn in one run, each a process of its own on one machine, with
`TCP_NODELAY` on all sides and the data of all on the same disk; the numbers are medians of the
rounds. `ratio` is ours to theirs: more is better for MB/s, less for times and sizes.
"""

_ABOUT = {
    "start": """`telerad up --json` on a data directory that exists: until its ready line, and five
seconds later. Its memory is the sum of what each of its processes takes of the machine
(proportional set size: a page that three share counts a third in each).""",
    "size": """Two engines side by side, one with 10 000 studies that are open cases in one queue,
the other with 10. C-STORE: a study of one image of 256 KB, time an image. Queue page: as its
consultant sees it, over HTTP, signed in; with 10 studies the page has 10 lines, with more it has
25, the longest it gets.""",
    "ingest": """`storescu` sends to `telerad up`, to Debian's Orthanc with its defaults for
storage, and to `storescp +B --fork`, which flushes nothing and keeps no index: a bound, not an
archive. Each instance of ours is flushed to disk and has its index row before the sender is told.
No study is packed while this is measured; that work comes once a study is complete, and competes
for disk and processor with whatever arrives then. Processor time is of all of `telerad up`, web and
relay included, and of all processes of a peer. Memory is the peak of the one process that takes in,
resident, all that it shares with others included; beside it stands what all of `telerad up` takes
of the machine after the work (proportional set size). To discard, the pump and the answers of the
node stand before nothing.""",
    "query": """The same client asks `telerad up` and Debian's Orthanc with its DICOMweb plugin:
C-FIND on the study root over one association, QIDO-RS over one connection, for what a list of
studies shows (name, id, date, accession number, description, modalities, counts). Each archive has
100 studies a day, two of each patient, two instances of each; the searches go to studies all over
it and find one or two, by day and modality 20. A name is asked for by its beginning. The small and
the large archive are asked search by search in turn. What a server has open is read before each
round: some machines take from memory what rests for half a minute, and the disk would be measured
along with a search. p50 and p99 are of 100 searches, medians of the rounds. Orthanc is filled over
REST, and so has 10 500 studies where ours has 100 000; ours is filled by rows. Each search of ours
leaves its row in the audit chain.""",
    "retrieve": """The same studies from both, once ours are packed and their metadata prepared.
C-MOVE by `movescu` to `storescp --ignore`, C-GET by `getscu --ignore`: the receiver drops what it
takes, so that its disk is not measured. DICOMweb by a plain socket, a connection a request. Each
instance of ours is compared with its digest before its last byte goes out. Memory: what all of
`telerad up` grows by while one instance of 1 GB goes out.""",
    "s3": """Finished studies to OpenStack Swift through its S3 interface: as one pack each, and
beside it one object an instance, of which 100 a round are put and the rate is told.""",
}


def written(measured: Mapping[str, Sequence[Row]], machine: Machine, at: datetime) -> str:
    """Return the document."""
    parts = [_HEAD, f"Measured on {at:%d %B %Y}.", *machine.sentences(), ""]
    for name, rows in measured.items():
        parts += [f"## {name}", "", _ABOUT[name], "", as_markdown(rows), ""]
    parts += ["## What falls short", "", *_short([r for rows in measured.values() for r in rows])]
    return "\n".join(parts) + "\n"


def _short(rows: Sequence[Row]) -> list[str]:
    short = [row for row in rows if row.verdict == "not met"]
    if not short:
        return ["Nothing of what is demanded in these rows."]
    return [f"- {row.case}: {row.ratio:.2f} of {row.peer}, demanded {row.demand}." for row in short]
