"""How much is decoded at once; a file says in a few bytes that it has far more."""

from dicom_node.errors import PictureRefused

MAX_PIXEL_BYTES = 1 << 30


def require_decodable(length: int) -> None:
    """Refuse so many bytes, of pixels or with them, before anything is allocated for them.

    Raises
    ------
    PictureRefused
        They are more than `MAX_PIXEL_BYTES`.
    """
    if length > MAX_PIXEL_BYTES:
        raise PictureRefused("the instance is too large to be given in another transfer syntax")
