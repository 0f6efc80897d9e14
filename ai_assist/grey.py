"""Brightness values of one film -> the tensor that the films' models take."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PREPROCESS_ID = "film-grey"
PREPROCESS_VERSION = 1

LOW_PERCENTILE = 1.0
HIGH_PERCENTILE = 99.0
FLATTEST_RANGE = 1e-6  # below it a film holds one value, whatever noise the arithmetic left


def to_model_input(values: NDArray[np.floating], *, side: int) -> NDArray[np.float32]:
    """Bring a film of any size and range to one square picture in [0, 1].

    The film is stretched, not padded: the aspect of the input is not kept, as half of the films
    the models learned from lost theirs.  Resampling comes before clipping, so that single hot
    pixels and thin markers weigh little, and so that bit depth does not show.

    Parameters
    ----------
    values
        (rows, columns), higher is brighter; any finite range.
    side
        Rows and columns of the result.

    Returns
    -------
    (1, side, side) float32 in [0, 1]; all zero for a film of one value.
    """
    finite = np.nan_to_num(np.asarray(values, dtype=np.float32), posinf=0.0, neginf=0.0)
    picture = Image.fromarray(np.ascontiguousarray(finite))
    small = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
    return clip_and_scale(small)[np.newaxis]


def clip_and_scale(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip at the 1st and 99th percentile and stretch to [0, 1]; (rows, columns) in and out."""
    low, high = np.percentile(small, (LOW_PERCENTILE, HIGH_PERCENTILE))
    if high - low <= FLATTEST_RANGE * max(1.0, abs(float(high))):
        return np.zeros_like(small)
    scaled: NDArray[np.float32] = np.clip((small - low) / (high - low), 0.0, 1.0)
    return scaled.astype(np.float32)
