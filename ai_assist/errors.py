"""What ai_assist refuses, and why."""

from typing import ClassVar

from kernel.errors import Corrupt, NotFound, Refused, Transient


class CardInvalid(Refused):
    """A model's card lacks something or contradicts itself."""

    code: ClassVar[str] = "ai_assist.card_invalid"


class ModelDisabled(Corrupt):
    """A file of the model is missing or is not the one its card names: it does not run."""

    code: ClassVar[str] = "ai_assist.model_disabled"


class ModelUnknown(NotFound):
    """The shelf holds no such model."""

    code: ClassVar[str] = "ai_assist.model_unknown"


class FilmUnreadable(Refused):
    """The bytes cannot be understood as an image."""

    code: ClassVar[str] = "ai_assist.film_unreadable"


class InferenceFailed(Refused):
    """The model could not be run on this input."""

    code: ClassVar[str] = "ai_assist.inference_failed"


class InferenceTimedOut(Refused):
    """The model took longer than its card allows."""

    code: ClassVar[str] = "ai_assist.inference_timed_out"


class ResultNotEncoded(Refused):
    """The results could not be written as a structured report."""

    code: ClassVar[str] = "ai_assist.result_not_encoded"


class RunUnknown(NotFound):
    """There is no such triage run."""

    code: ClassVar[str] = "ai_assist.run_unknown"


class LeaseLost(Transient):
    """Another worker took the run over while this one was away."""

    code: ClassVar[str] = "ai_assist.lease_lost"
