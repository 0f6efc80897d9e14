"""A decoder in a process of its own: what says no for good, and what may be tried again."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate

from dicom_node import apart
from dicom_node.errors import DecoderAway, PictureRefused
from dicom_node.frames import Frames
from dicom_node.pictures import render
from dicom_node.transcode import transcoded
from dicom_node.uids import EXPLICIT_LITTLE, JPEG_LOSSLESS_SV1
from tests.dicom_node.samples import a_slice, as_file

WAYS: list[Callable[[bytes], object]] = [
    apart.decompressed,
    render,
    lambda file: transcoded(file, EXPLICIT_LITTLE),
    lambda file: Frames(BytesIO(file)).plain(1),
]


def squeezed(cut: int | None = None) -> bytes:
    """Return an instance in the lossless JPEG that GDCM alone opens."""
    image = a_slice(side=32)
    pixels = np.frombuffer(image.PixelData, np.uint16).reshape(32, 32)
    stream = bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=16))
    image.PixelData = encapsulate([stream[:cut]])
    image["PixelData"].VR = "OB"
    return as_file(image, JPEG_LOSSLESS_SV1)


@contextmanager
def no_file_left() -> Iterator[None]:
    """Let this process open no further file: the pipes of a new one cannot be made."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    following = os.dup(0)
    os.close(following)
    resource.setrlimit(resource.RLIMIT_NOFILE, (following, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def ended_by(number: signal.Signals) -> Iterator[None]:
    """Send a signal to the decoder of this process as soon as there is one."""
    over = threading.Event()

    def end() -> None:
        while not over.is_set():
            for pid in _children():
                with_what = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"dicom_node.apart" in with_what:
                    os.kill(pid, number)
                    return
            time.sleep(0.005)

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _children() -> list[int]:
    told = (path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return [int(pid) for each in told for pid in each.split()]


def test_what_can_be_decoded_is(tmp_path: Path) -> None:
    for way in WAYS:
        assert way(squeezed())


@pytest.mark.parametrize("way", WAYS)
def test_a_decoder_that_cannot_be_started_is_tried_again(way: Callable[[bytes], object]) -> None:
    with no_file_left(), pytest.raises(DecoderAway):
        way(squeezed())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_decoder_that_others_end_is_tried_again(number: signal.Signals) -> None:
    with ended_by(number), pytest.raises(DecoderAway):
        apart.decompressed(squeezed())


def test_a_decoder_that_takes_too_long_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PATIENCE_S", 0.01)
    with pytest.raises(DecoderAway):
        apart.decompressed(squeezed())


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_that_crashes_on_the_bytes_says_no(number: signal.Signals) -> None:
    with ended_by(number), pytest.raises(PictureRefused):
        apart.decompressed(squeezed())


@pytest.mark.parametrize("cut", [2, 30, 100])
def test_what_is_no_picture_is_refused(cut: int) -> None:
    with pytest.raises(PictureRefused):
        apart.decompressed(squeezed(cut))
