"""One sentence for a person of why a command cannot do what it was asked."""

from kernel.errors import EngineError


def sentence_of(error: Exception) -> str | None:
    """Return the sentence of a failure that was foreseen; None of one that was not."""
    if isinstance(error, EngineError):
        clause = f" ({error.clause})" if error.clause else ""
        return f"{_line(error.sentence)}{clause}"
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{_line(error.strerror or str(error))}"
    return None


def _line(text: str) -> str:
    """Return a message of a driver or system, which may have several lines, as one."""
    return " ".join(text.split())
