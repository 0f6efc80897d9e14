"""The suite's Orthanc is real: it keeps a file and sends it on."""

from pathlib import Path

import pydicom.data
import pytest

from tests.services.missing import required
from tests.services.orthanc import Orthanc
from tests.services.orthanc import orthanc as run_orthanc

pytestmark = pytest.mark.service


def _sample() -> bytes:
    return Path(str(pydicom.data.get_testdata_file("CT_small.dcm"))).read_bytes()


def test_one_orthanc_sends_to_another_that_listens(orthanc: Orthanc) -> None:
    with required(), run_orthanc(ae_title="OTHER", listens=True) as other:
        assert other.dicom_port is not None
        orthanc.knows("other", ae_title=other.ae_title, port=other.dicom_port)
        orthanc.send("other", [orthanc.upload(_sample())])
        assert len(other.ask("GET", "/instances")) == 1
