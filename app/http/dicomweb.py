"""DICOMweb: the addresses of searching, retrieving and storing under one prefix.

References
----------
DICOM PS3.18 sections 8 (conventions), 9 (URI service) and 10 (studies service).
"""

from fastapi import APIRouter

from app.http import dicom_frames, dicom_qido, dicom_rendered, dicom_stow, dicom_uri, dicom_wado

router = APIRouter()
for _part in (dicom_qido, dicom_wado, dicom_frames, dicom_rendered, dicom_stow, dicom_uri):
    router.include_router(_part.router)
