"""Files that sites have, made by independent programs."""

import io
import subprocess
import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dicom_node.composite import Belonging
from tests.services.missing import program

OF = Belonging(
    study_uid="1.2.826.0.1.3680043.8.498.77.900",
    patient_id="P-9",
    issuer="hospital-1",
    patient_name="Ахметова^Айгүл",
    sex="F",
    birth_date=date(1970, 4, 3),
    accession="ACC9",
    study_description="Chest PA",
    institution="East",
    made_at=datetime(2026, 3, 1, 8, 30, tzinfo=UTC),
)
COLOURS = np.random.default_rng(7).integers(0, 256, (31, 41, 3), dtype=np.uint8)


def encoded(form: str, pixels: Any = COLOURS, **how: Any) -> bytes:
    """Return a picture of the given pixels."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **how)
    return out.getvalue()


def pdf(body: bytes = b"") -> bytes:
    """Return a small PDF with a text in it."""
    return (
        b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n" + body + b"\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    )


def deflated(text: bytes) -> bytes:
    """Return a compressed stream as a PDF holds it."""
    return b"5 0 obj<</Filter/FlateDecode>>stream\n" + zlib.compress(text) + b"\nendstream endobj"


def mp4(folder: Path, *how: str, size: str = "128x96", name: str = "v.mp4") -> bytes:
    """Return a second of video made by ffmpeg; `how` are its further arguments."""
    made = folder / name
    source = f"testsrc=size={size}:rate=25"
    coded = how or ("-c:v", "libx264", "-profile:v", "high", "-level", "3.1")
    command = [
        *(program("ffmpeg"), "-loglevel", "error", "-y", "-f", "lavfi", "-i", source, "-t", "1"),
        *("-pix_fmt", "yuv420p", *coded, made),
    ]
    subprocess.run([str(part) for part in command], check=True, timeout=120)
    return made.read_bytes()
