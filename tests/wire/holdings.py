"""What the query and retrieve tests find in the archive: a few patients of two sites."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_node.uids import EXPLICIT_LITTLE
from tests.dicom_node.samples import ROOT, a_slice, as_file, as_sent
from tests.wire.conftest import Node
from tests.wire.speaker import CALLING

CR = "1.2.840.10008.5.1.4.1.1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One study as its modality sent it."""

    number: int
    patient_id: str
    name: str
    date: str = "20260102"
    time: str = "101500"
    accession: str = ""
    description: str = ""
    birth_date: str = "19700403"
    sex: str = "F"
    series: tuple[tuple[str, int], ...] = (("CT", 2),)
    sent_by: str = CALLING

    @property
    def uid(self) -> str:
        return f"{ROOT}.9.{self.number}"

    def instances(self) -> Iterable[Dataset]:
        for at, (modality, count) in enumerate(self.series, 1):
            for number in range(1, count + 1):
                yield self._instance(at, modality, number)

    def _instance(self, at: int, modality: str, number: int) -> Dataset:
        data_set = a_slice(number, study=1)
        if modality == "CR":
            data_set.SOPClassUID = CR
        data_set.StudyInstanceUID = self.uid
        data_set.SeriesInstanceUID = f"{self.uid}.{at}"
        data_set.SOPInstanceUID = f"{self.uid}.{at}.{number}"
        data_set.Modality, data_set.SeriesNumber = modality, at
        data_set.PatientID, data_set.PatientName = self.patient_id, self.name
        data_set.PatientBirthDate, data_set.PatientSex = self.birth_date, self.sex
        data_set.StudyDate, data_set.StudyTime = self.date, self.time
        data_set.AccessionNumber, data_set.StudyDescription = self.accession, self.description
        return data_set


HELD = (
    Held(
        number=1, patient_id="P-1", name="Ахметова^Айгүл", accession="A-1", description="CT CHEST"
    ),
    Held(
        number=2,
        patient_id="P-1",
        name="Ахметова^Айгүл",
        accession="A-2",
        date="20260210",
        time="083000.500",
        series=(("CR", 1),),
    ),
    Held(
        number=3,
        patient_id="P-2",
        name="Müller^Jörg",
        accession="B-1",
        date="20250630",
        time="2359",
        sex="M",
        birth_date="",
        series=(("CT", 1), ("CR", 2), ("SR", 1)),
    ),
    Held(number=4, patient_id="P-22", name="Ivanov^Ivan=Иванов^Иван", accession="B_1", date=""),
    Held(number=5, patient_id="Q%5", name="O'Hara^Scarlett", accession="50%", time=""),
    Held(number=6, patient_id="P-1", name="Sidorov^Petr", accession="C-1", sent_by="OTHER_SITE"),
)


def stock(node: Node, held: Sequence[Held] = HELD) -> None:
    """Send studies to the node as their modalities do."""
    for sender in sorted({study.sent_by for study in held}):
        instances = [
            as_sent(as_file(each))
            for study in held
            if study.sent_by == sender
            for each in study.instances()
        ]
        classes = sorted({announced.sop_class_uid for announced, _ in instances})
        with node.speak(sender) as speaker:
            speaker.associate(*((uid, EXPLICIT_LITTLE) for uid in classes))
            for announced, data in instances:
                context_id = 2 * classes.index(announced.sop_class_uid) + 1
                assert speaker.store(announced, data, context_id=context_id) == 0
            speaker.release()
