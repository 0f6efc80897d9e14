"""DICOMweb: the addresses of searching, retrieving, storing, deleting and of workitems.

References
----------
DICOM PS3.18 sections 8 (conventions), 9 (URI service) 10 (studies service) and 11 (worklist
service).
"""

from fastapi import APIRouter

from app.http import (
    dicom_capabilities,
    dicom_delete,
    dicom_frames,
    dicom_qido,
    dicom_rendered,
    dicom_stow,
    dicom_uri,
    dicom_wado,
    ups,
    ups_events,
)

router = APIRouter()
for _part in (
    dicom_qido,
    dicom_wado,
    dicom_frames,
    dicom_rendered,
    dicom_stow,
    dicom_delete,
    dicom_uri,
    ups,
    ups_events,
    dicom_capabilities,
):
    router.routes.extend(_part.router.routes)  # included ones are gone through again and again


def preload() -> None:
    """Import what the first answers need, so that nobody waits for it."""
    import dicom_node.frames
    import dicom_node.pictures
    import dicom_node.series_metadata
    import dicom_node.transcode  # noqa: F401
