"""What can go wrong, in four branches that decide what happens next.

A ``Refused`` is never retried, a ``Transient`` is, a ``Corrupt`` is quarantined and raises an
alarm, a ``Misconfigured`` stops the start.  How each branch looks as an HTTP answer, as a DIMSE
status word and to the outbox is decided at those borders, not here.
"""

from typing import ClassVar


class EngineError(Exception):
    """The engine could not do what was asked; the message is one sentence that names the rule."""

    code: ClassVar[str] = "engine.error"
    clause: ClassVar[str | None] = None

    def __init__(self, sentence: str, **fields: object) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fields = fields


class Refused(EngineError):
    """A rule said no; asking again changes nothing."""

    code = "refused"


class NotFound(Refused):
    """The named thing does not exist, or the asker may not know that it does."""

    code = "not_found"


class Transient(EngineError):
    """Something outside failed; the same call may succeed later."""

    code = "transient"


class Corrupt(EngineError):
    """Evidence contradicts itself: quarantine it and raise an alarm."""

    code = "corrupt"


class Misconfigured(EngineError):
    """The settings or the machine cannot carry the engine; refuse to start."""

    code = "misconfigured"
