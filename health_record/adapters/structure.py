"""Is a Bundle that we built valid FHIR R4 in structure?  The only door to ``fhir.resources``.

The models judge only: what they would write differs from what they read (72.50 becomes 72.5), so
the bytes that are stored and sent are always our own.  They check no required value sets.
"""

from functools import cache
from typing import Any

from health_record.errors import DocumentInvalid
from health_record.spelling import Resource

MAX_NAMED_PROBLEMS = 3


def require_valid(bundle: Resource) -> None:
    """Pass a Bundle whose every resource fits the R4 structure.

    Raises
    ------
    DocumentInvalid
        Some element does not; the sentence names the places, never the values.
    """
    problems = _problems(bundle)
    if problems:
        named = "; ".join(problems[:MAX_NAMED_PROBLEMS])
        raise DocumentInvalid(f"the document is not valid FHIR R4: {named}")


def _problems(bundle: Resource) -> list[str]:
    from pydantic import ValidationError

    try:
        _bundle_model().model_validate(bundle)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, problem['loc']))}: {problem['type']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
    return []


@cache
def _bundle_model() -> Any:
    """Load the models on first use: they take a third of a second and much memory."""
    from fhir.resources.R4B.bundle import Bundle

    return Bundle
