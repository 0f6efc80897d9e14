"""Pictures for pages: shown or refused with a sentence, never a crash, never by a claimed size."""

from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dicom_node.errors import PictureRefused
from dicom_node.pictures import Picture, render
from dicom_node.uids import DEFLATED_LITTLE, IMPLICIT_LITTLE
from tests.dicom_node.samples import SHARED, a_slice, as_file, real_files

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, about the files themselves


def grey_of(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture.data)).convert("L"))


def test_the_window_of_the_instance_is_used_unless_another_is_asked_for() -> None:
    data_set = a_slice()
    data_set.WindowCenter, data_set.WindowWidth = 2048, 4096
    data_set.PixelData = np.full((16, 16), 2048, np.uint16).tobytes()
    file = as_file(data_set)

    assert grey_of(render(file))[0, 0] in (127, 128)
    assert grey_of(render(file, window=(4000, 100)))[0, 0] == 0
    assert grey_of(render(file, window=(100, 100)))[0, 0] == 255


def test_monochrome1_is_shown_inverted() -> None:
    plain, inverse = a_slice(), a_slice()
    inverse.PhotometricInterpretation = "MONOCHROME1"

    shown, inverted = grey_of(render(as_file(plain))), grey_of(render(as_file(inverse)))

    assert (shown.astype(int) + inverted == 255).all()


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT_LITTLE, DEFLATED_LITTLE])
def test_the_encoding_makes_no_difference(transfer_syntax: str) -> None:
    assert render(as_file(a_slice(), transfer_syntax)).data == render(as_file(a_slice())).data


def test_a_large_picture_is_reduced_and_can_be_a_jpeg() -> None:
    picture = render(as_file(a_slice(side=600)), max_side=200, media_type="image/jpeg")

    assert (picture.width, picture.height) == (200, 200)
    assert Image.open(BytesIO(picture.data)).format == "JPEG"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"Rows": 65_535, "Columns": 65_535}, "too large"),
        ({"Rows": 4_000, "Columns": 4_000}, "fewer pixels"),
        ({"Rows": 0}, "no rows"),
        ({"NumberOfFrames": 500}, "fewer pixels"),
    ],
)
def test_sizes_that_the_bytes_do_not_bear_out_are_refused(
    change: dict[str, int], sentence: str
) -> None:
    data_set = a_slice()
    for keyword, value in change.items():
        setattr(data_set, keyword, value)

    with pytest.raises(PictureRefused, match=sentence):
        render(as_file(data_set))


def test_a_frame_that_is_not_there_is_refused() -> None:
    with pytest.raises(PictureRefused, match="1 frames"):
        render(as_file(a_slice()), frame=2)


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_is_a_picture_or_refused(data: st.DataObject) -> None:
    file = bytearray(as_file(a_slice()))
    for _ in range(data.draw(st.integers(1, 5))):
        file[data.draw(st.integers(128, len(file) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PictureRefused):
        assert render(bytes(file)).data


def test_real_files_are_shown_or_refused() -> None:
    shown = 0
    odd = sorted((SHARED / "data/odd_dicom").glob("*.dcm"))
    for path in [*real_files(), *odd]:
        with suppress(PictureRefused):
            shown += render(path.read_bytes(), max_side=128).width > 0
    assert shown > 40
