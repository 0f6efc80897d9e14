"""The details of a series, read from one of its instances for a query that asks for them."""

from collections.abc import Callable

import structlog

from dicom_node import series_details
from dicom_node.data_sets import Attributes
from dicom_node.errors import QueryTooWide
from kernel.errors import EngineError, Transient
from storage.archive import Archive
from storage.series_queries import one_of

MAX_READ = 1000
"""Series that are read for one query."""

Look = Callable[[str, str], Attributes | None]
"""Returns the details of a series: by the UID of its study, and its own.

None: they could not be read, so that nobody can say what they are.
"""

log = structlog.get_logger()


def once_each(look: Look) -> Look:
    """Return what looks at each series once, and at no more than `MAX_READ`."""
    seen: dict[str, Attributes | None] = {}

    def looked(study_uid: str, series_uid: str) -> Attributes | None:
        if series_uid not in seen:
            if len(seen) == MAX_READ:
                raise QueryTooWide(
                    f"these keys are read from the instances of {MAX_READ} series at most: "
                    "ask for less with other keys"
                )
            seen[series_uid] = look(study_uid, series_uid)
        return seen[series_uid]

    return looked


def without_waiting(look: Look) -> Look:
    """Return what looks where details are only answered: it does without what is not there now."""

    def looked(study_uid: str, series_uid: str) -> Attributes | None:
        try:
            return look(study_uid, series_uid)
        except Transient as error:
            log.warning("series.details_unread", series=series_uid, code=error.code)
            return None

    return looked


def reader(archive: Archive) -> Look:
    """Return what reads the details of a series as its instances leave, so with corrections.

    What it returns raises `Transient` where an instance cannot be read now: it is not known yet
    whether its series matches, and an answer without it would say that it does not.
    """

    def look(study_uid: str, series_uid: str) -> Attributes | None:
        from dicom_node.outgoing import shown_of
        from dicom_node.series_metadata import said_by

        with archive.database.reading() as tx:
            held = one_of(tx, study_uid, series_uid)
        if held is None:
            return Attributes()
        try:
            shown = shown_of(archive, study_uid)
            return series_details.read_of(said_by(archive, held, shown=shown))
        except Transient:
            raise
        except EngineError as error:
            # The damage is scrub's to tell, and asking again would change nothing: a search goes
            # on with what the index has, and says so.
            log.warning("series.details_unread", instance=held.instance_uid, code=error.code)
            return None

    return look
