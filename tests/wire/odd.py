"""The corpus of odd files: its index, and each file as a sender would announce it."""

import csv
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.admission import Announced
from dicom_node.elements import find
from dicom_node.errors import Unreadable
from dicom_node.part10 import split

ODD = Path(__file__).parents[2] / "../shared/data/odd_dicom"
INDEX = ODD / "index.csv"
_SOP_CLASS, _SOP_INSTANCE, _STUDY = 0x00080016, 0x00080018, 0x0020000D


@dataclass(frozen=True, slots=True)
class OddFile:
    """One row of the index."""

    name: str
    expect: str
    must: str
    rank: int
    """How many files before it are of the same instance."""

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        return (ODD / self.name).read_bytes()

    def twin(self, letter: str) -> "OddFile":
        """Return the other file of a pair."""
        name = f"{self.name[: -len('_x.dcm')]}_{letter}.dcm"
        return next(row for row in ROWS if row.name == name)


@dataclass(frozen=True, slots=True)
class AsSent:
    """What goes over the wire: what is announced, and the data set."""

    announced: Announced
    data_set: bytes = field(repr=False)
    study_uid: str


def as_sent(file: bytes) -> AsSent | None:
    """Announce the data set's own UIDs, for the file meta information is sometimes of another.

    None if the file has nothing that a C-STORE could announce.
    """
    try:
        part = split(file)
    except Unreadable:
        return None
    data_set = file[part.data_set_offset :]
    tags = {_SOP_CLASS: part.sop_class_uid, _SOP_INSTANCE: part.sop_instance_uid, _STUDY: ""}
    with suppress(Unreadable):
        found = find(data_set, part.transfer_syntax_uid, tags.keys(), last=max(tags))
        tags |= {tag: raw.decode("latin_1").strip("\0 ") for tag, raw in found.items()}
    announced = Announced(tags[_SOP_CLASS], tags[_SOP_INSTANCE], part.transfer_syntax_uid)
    return AsSent(announced, data_set, tags[_STUDY])


def _rows() -> list[OddFile]:
    if not INDEX.exists():
        return []
    seen: Counter[str] = Counter()
    rows = []
    for row in csv.DictReader(INDEX.read_text().splitlines()):
        sent = as_sent((ODD / row["file"]).read_bytes())
        uid = sent.announced.sop_instance_uid if sent else ""
        pair = row["file"].startswith("made_012")  # two of one instance belong together
        rank = 0 if pair or not uid else seen[uid]
        seen[uid] += 1
        rows.append(OddFile(row["file"], row["expect"], row["must"], rank))
    return rows


ROWS = _rows()


__all__ = ["INDEX", "ODD", "ROWS", "AsSent", "OddFile", "as_sent"]
