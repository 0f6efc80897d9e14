"""What the web entrance refuses before any package is asked."""

from kernel.errors import Refused, Transient


class BodyTooLarge(Refused):
    """The request is larger than this address takes."""

    code = "http.body_too_large"


class BodyMalformed(Refused):
    """The request is not what its content type says."""

    code = "http.body_malformed"


class MediaTypeRefused(Refused):
    """This address does not take requests of this content type."""

    code = "http.media_type_refused"


class NotAcceptable(Refused):
    """None of the accepted media types can be given."""

    code = "http.not_acceptable"


class NoRoom(Transient):
    """There is no room to take the upload; nothing of it was stored."""

    code = "http.no_room"


class UploadStalled(Transient):
    """The sender fell silent in the middle of the request; nothing of it was stored."""

    code = "http.upload_stalled"
