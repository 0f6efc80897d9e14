"""What the file system means by an error: that bytes are lost, or that it may give them later."""

import errno

_LOST = frozenset({errno.EIO, errno.EISDIR, errno.ENODATA, errno.EUCLEAN})


def is_lost(error: OSError) -> bool:
    """Say whether what was to be read is lost, as far as the file system knows."""
    return error.errno in _LOST
