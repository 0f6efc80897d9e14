"""Which images a model may see, and that the same film always becomes the same tensor."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from ai_assist.card import ModelCard
from ai_assist.eligibility import ImageFacts, why_not
from ai_assist.errors import FilmUnreadable
from ai_assist.grey import to_model_input
from ai_assist.inputs import facts_of, greys_of, read, tensor_of
from ai_assist.shelf import Shelf
from tests.ai_assist.films import film, noise, part10, real_chests

SAMPLES = Path(__file__).parents[2] / "../shared/data/dicom"
MOST_SCORES_MAY_DIFFER = 0.02  # D1 of the demands on models

REFUSALS: dict[str, dict[str, object]] = {
    "secondary_capture": {"SOPClassUID": SecondaryCaptureImageStorage},
    "modality_not_covered": {"Modality": "CT"},
    "body_part_not_covered": {"BodyPartExamined": "HAND"},
    "view_not_covered": {"ViewPosition": "LL"},
    "not_for_presentation": {"PresentationIntentType": "FOR PROCESSING"},
    "secondary_image": {"ImageType": ["DERIVED", "SECONDARY"]},
    "not_greyscale": {"PhotometricInterpretation": "RGB"},
    "more_than_one_frame": {"NumberOfFrames": 2},
    "matrix_too_small": {"Rows": 64},
    "matrix_too_large": {"Rows": 20_000, "Columns": 20_000},
    "compressed_too_much": {"LossyImageCompressionRatio": 200},
}
ACCEPTED: dict[str, dict[str, object]] = {
    "processed, as most films are": {"ImageType": ["DERIVED", "PRIMARY"]},
    "no body part": {"BodyPartExamined": ""},
    "no view": {"ViewPosition": ""},
    "CR": {"Modality": "CR"},
    "small letters": {"BodyPartExamined": "Chest"},
    "a crooked age": {"PatientAge": "46"},
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_an_image_the_card_does_not_cover_is_refused_with_its_reason(
    quality_card: ModelCard, reason: str
) -> None:
    facts = facts_of(film(noise(), **REFUSALS[reason]))
    assert why_not(facts, quality_card.eligibility) == reason


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_sites_really_send_is_covered(quality_card: ModelCard, name: str) -> None:
    assert why_not(facts_of(film(noise(), **ACCEPTED[name])), quality_card.eligibility) is None


def test_a_coded_region_serves_where_the_body_part_is_empty(quality_card: ModelCard) -> None:
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator = "51185008", "SCT"
    facts = facts_of(film(noise(), BodyPartExamined="", AnatomicRegionSequence=Sequence([region])))
    rules = replace(quality_card.eligibility, body_parts=("CHEST",))
    assert why_not(facts, rules) is None
    assert why_not(replace(facts, anatomic_regions=()), rules) == "body_part_not_covered"


@pytest.mark.parametrize(
    ("age", "reason"),
    [("020Y", None), ("003M", "age_not_covered"), ("", None), ("010D", "age_not_covered")],
)
def test_an_age_outside_the_card_is_refused_and_an_unknown_one_is_not(
    quality_card: ModelCard, age: str, reason: str | None
) -> None:
    rules = replace(quality_card.eligibility, age_years=(1, 120))
    assert why_not(facts_of(film(noise(), PatientAge=age)), rules) == reason


def test_an_empty_header_is_refused_and_not_fatal(quality_card: ModelCard) -> None:
    assert why_not(facts_of(Dataset()), quality_card.eligibility) == "modality_not_covered"


WAYS: dict[str, dict[str, object]] = {
    "MONOCHROME1": {"monochrome1": True},
    "8 bit": {"bits": 8},
    "16 bit": {"bits": 16},
    "implicit": {"transfer_syntax": ImplicitVRLittleEndian},
    "deflated": {"transfer_syntax": DeflatedExplicitVRLittleEndian},
    "JPEG 2000": {"transfer_syntax": JPEG2000Lossless},
    "JPEG-LS": {"transfer_syntax": JPEGLSLossless},
    "RLE": {"transfer_syntax": RLELossless},
    "RLE, 8 bit, MONOCHROME1": {
        "transfer_syntax": RLELossless,
        "bits": 8,
        "monochrome1": True,
    },
    "rescaled": {"RescaleSlope": 2, "RescaleIntercept": -1024, "RescaleType": "US"},
    "a window over all": {"WindowCenter": 2048, "WindowWidth": 4096},
    "a window that shows nothing": {"WindowCenter": -9000, "WindowWidth": 10},
    "a window that is not one": {"WindowCenter": 10, "WindowWidth": 0},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_film_scores_the_same_however_it_is_stored(shelf: Shelf, way: str) -> None:
    card = shelf.cards[0]
    predictor = shelf.predictor(card.id, card.version)
    for greys in [noise(), *real_chests("nih", 3), *real_chests("kermany", 3)]:
        plain = predictor.predict(tensor_of(film(greys), card))
        stored = read(part10(film(greys, **WAYS[way])))  # type: ignore[arg-type]
        other = predictor.predict(tensor_of(stored, card))
        worst = max(abs(plain[name] - other[name]) for name in card.scores)
        assert worst <= MOST_SCORES_MAY_DIFFER, (way, plain, other)


def test_big_endian_is_read(quality_card: ModelCard) -> None:
    image = film(noise())
    values = image.pixel_array.byteswap()
    image.PixelData = values.tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    assert np.array_equal(
        tensor_of(read(part10(image)), quality_card), tensor_of(film(noise()), quality_card)
    )


def test_monochrome1_is_inverted_and_padding_is_dark() -> None:
    greys = np.tile(np.linspace(0, 255, 200), (200, 1))
    shown = greys_of(film(greys, monochrome1=True))
    assert shown[0, 0] < shown[0, -1]
    padded = film(greys, PixelPaddingValue=0)
    padded["PixelPaddingValue"].VR = "US"
    values = greys_of(padded)
    assert values[0, 0] == values[0, 1]


def test_bytes_that_are_nothing_are_refused() -> None:
    with pytest.raises(FilmUnreadable):
        greys_of(read(b"not DICOM at all" * 20))


@pytest.mark.parametrize("kept", [0, 10, 4096])
def test_cut_pixels_are_refused(kept: int) -> None:
    image = film(noise())
    image.PixelData = image.PixelData[:kept]
    with pytest.raises(FilmUnreadable):
        greys_of(image)


def test_spoiled_compressed_pixels_are_refused() -> None:
    image = film(noise(), transfer_syntax=JPEG2000Lossless)
    image.PixelData = image.PixelData[:60] + b"\x00" * 500
    with pytest.raises(FilmUnreadable):
        greys_of(image)


def test_long_samples_in_words_of_big_endian_are_not_guessed() -> None:
    image = film(noise())
    doses = np.arange(256 * 256, dtype=np.uint32) * 70_000
    image.BitsAllocated = image.BitsStored = 32
    image.HighBit = 31
    image.PixelData = doses.astype(">u4").tobytes()
    image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    with pytest.raises(FilmUnreadable, match="two ways"):
        greys_of(image)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_frame_that_asks_for_more_than_is_said_is_not_decoded(syntax: UID) -> None:
    image = film(noise(), transfer_syntax=syntax)
    image.Rows = 128
    with pytest.raises(FilmUnreadable, match="another size"):
        greys_of(image)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_frame_that_says_no_size_is_not_decoded(syntax: UID) -> None:
    image = film(noise(), transfer_syntax=syntax)
    (stream,) = generate_frames(image.PixelData, number_of_frames=1)
    image.PixelData = encapsulate([stream[:2] + b"\0\0" + stream[2:]])
    with pytest.raises(FilmUnreadable, match="does not say its size"):
        greys_of(image)


def test_the_frame_that_is_checked_is_the_one_that_is_decoded() -> None:
    image = film(noise(), transfer_syntax=JPEG2000Lossless)
    (whole,) = generate_frames(image.PixelData, number_of_frames=1)
    larger = film(noise(512), transfer_syntax=JPEG2000Lossless)
    (bomb,) = generate_frames(larger.PixelData, number_of_frames=1)
    image.PixelData, _, _ = encapsulate_extended([whole, bomb])
    second = 8 + len(whole) + len(whole) % 2
    image.ExtendedOffsetTable = second.to_bytes(8, "little")
    image.ExtendedOffsetTableLengths = len(bomb).to_bytes(8, "little")
    with pytest.raises(FilmUnreadable, match="another size"):
        greys_of(image)
    image.ExtendedOffsetTable = (0).to_bytes(8, "little")
    image.ExtendedOffsetTableLengths = len(whole).to_bytes(8, "little")
    assert np.array_equal(greys_of(image), greys_of(film(noise())))
    image.ExtendedOffsetTableLengths *= 2
    with pytest.raises(FilmUnreadable, match="contradicts"):
        greys_of(image)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLossless, JPEGExtended12Bit])
def test_what_only_a_decoder_opens_that_may_end_the_process_is_not_decoded_in_it(
    syntax: UID,
) -> None:
    image = film(noise(), bits=8)
    image.PixelData = encapsulate([bytes(imagecodecs.ljpeg_encode(image.pixel_array))])
    image.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(FilmUnreadable, match="in this process"):
        greys_of(image)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        image = read(b"\0" * 128 + b"DICM" + data)
        assert isinstance(facts_of(image), ImageFacts)
        greys_of(image)
    except FilmUnreadable:
        pass


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 90), st.integers(1, 90)),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_any_picture_becomes_a_tensor_from_zero_to_one(values: np.ndarray) -> None:
    tensor = to_model_input(values, side=64)
    assert tensor.shape == (1, 64, 64)
    assert tensor.dtype == np.float32
    assert np.isfinite(tensor).all()
    assert tensor.min() >= 0
    assert tensor.max() <= 1


@given(st.floats(0.5, 50), st.floats(-500, 500))
def test_brightness_and_contrast_of_the_storage_do_not_show(slope: float, shift: float) -> None:
    greys = noise(100)
    plain = to_model_input(greys, side=64)
    assert np.allclose(to_model_input(greys * slope + shift, side=64), plain, atol=1e-3)


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore")
def test_every_real_sample_is_scored_or_refused_with_a_reason(quality_card: ModelCard) -> None:
    files = [path for path in SAMPLES.rglob("*") if path.is_file() and path.suffix != ".csv"]
    if not files:
        pytest.skip("the real samples are not beside the project")
    for path in files[::3]:
        with suppress(FilmUnreadable):
            image = read(path.read_bytes())
            reason = why_not(facts_of(image), quality_card.eligibility)
            assert reason is None or reason.isidentifier()
            greys_of(image)


def test_explicit_little_endian_is_what_films_are_made_in() -> None:
    assert film(noise()).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
