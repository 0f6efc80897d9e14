"""Server-rendered pictures of images: to follow a text by, never for diagnosis."""

import threading
from dataclasses import dataclass

from fastapi import APIRouter, Query
from fastapi.responses import Response

from app.http.access import SeesImages
from app.http.body import TheEngine
from app.pages.document import NoDocument
from storage import archive, archive_queries, audit
from storage.archive import Manifest
from storage.archive_queries import InstanceRow, SeriesRow
from storage.engine import Transaction
from worklist.case import Case

router = APIRouter()
_AT_ONCE = threading.BoundedSemaphore(2)  # decoding takes a core and hundreds of MB
MAX_SIDE = 1600


@dataclass(frozen=True, slots=True)
class Preset:
    """A named window: (center, width) in the unit after rescale, HU for CT; None: as sent."""

    id: str
    name: str
    window: tuple[float, float] | None


AS_SENT = Preset("default", "As sent", None)
# Common starting points of the trade; HU, so for CT only.
CT_PRESETS = (
    AS_SENT,
    Preset("lung", "Lung", (-600.0, 1500.0)),
    Preset("mediastinum", "Mediastinum", (40.0, 400.0)),
    Preset("bone", "Bone", (400.0, 1800.0)),
    Preset("brain", "Brain", (40.0, 80.0)),
    Preset("abdomen", "Abdomen", (50.0, 350.0)),
)


def presets_of(modality: str) -> tuple[Preset, ...]:
    """Return the windows that make sense for a modality."""
    return CT_PRESETS if modality == "CT" else (AS_SENT,)


def series_of_case(tx: Transaction, case: Case) -> list[SeriesRow]:
    """Return the series that the case's manifest holds: what came later is not shown as read."""
    manifest = archive.manifest(tx, case.study_uid, case.manifest_version)
    held = {entry.instance_uid for entry in manifest.entries}
    series = [
        SeriesRow(
            series_uid=row.series_uid,
            modality=row.modality,
            number=row.number,
            description=row.description,
            body_part=row.body_part,
            instances=tuple(i for i in row.instances if i.instance_uid in held and is_image(i)),
        )
        for row in archive_queries.series_of(tx, case.study_uid)
    ]
    return [row for row in series if row.instances]


def is_image(row: InstanceRow) -> bool:
    """Say whether an instance has pixels to show."""
    return bool(row.rows and row.columns)


@router.get("/cases/{case_id}/pictures/{instance_uid}.png")
def picture(
    instance_uid: str,
    engine: TheEngine,
    opened: SeesImages,
    frame: int = Query(1, ge=1),
    window: str = "default",
) -> Response:
    """Give one frame as a PNG; each showing is a row in the journal of the case."""
    case = opened.case
    with engine.database.transaction() as tx:
        manifest = archive.manifest(tx, case.study_uid, case.manifest_version)
        modality = _modality(manifest, instance_uid)
        audit.record(
            tx,
            actor=opened.visitor.person.actor,
            action="image.viewed",
            subject=f"instance:{instance_uid}",
            case_id=case.id,
            detail={"frame": frame},
        )
    preset = next((p for p in presets_of(modality) if p.id == window), AS_SENT)
    data = engine.archive.read(instance_uid)
    from dicom_node.pictures import render  # decoders are loaded when the first image is asked for

    with _AT_ONCE:
        shown = render(data, frame=frame, max_side=MAX_SIDE, window=preset.window)
    return Response(shown.data, media_type=shown.media_type)


def _modality(manifest: Manifest, instance_uid: str) -> str:
    for entry in manifest.entries:
        if entry.instance_uid == instance_uid:
            return entry.modality
    raise NoDocument("the case holds no such image")
