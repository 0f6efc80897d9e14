"""The details of a series, read from one of its instances for a query that asks for them."""

from collections.abc import Callable

import structlog

from dicom_node import series_details
from dicom_node.data_sets import Attributes
from dicom_node.errors import QueryTooWide
from kernel.errors import EngineError
from storage.archive import Archive
from storage.series_queries import one_of

MAX_READ = 1000
"""Series that are read for one query."""

Look = Callable[[str, str], Attributes]
"""Returns the details of a series: by the UID of its study, and its own."""

log = structlog.get_logger()


def once_each(look: Look) -> Look:
    """Return what looks at each series once, and at no more than `MAX_READ`."""
    seen: dict[str, Attributes] = {}

    def looked(study_uid: str, series_uid: str) -> Attributes:
        if series_uid not in seen:
            if len(seen) == MAX_READ:
                raise QueryTooWide(
                    f"these keys are read from the instances of {MAX_READ} series at most: "
                    "ask for less with other keys"
                )
            seen[series_uid] = look(study_uid, series_uid)
        return seen[series_uid]

    return looked


def reader(archive: Archive) -> Look:
    """Return what reads the details of a series as its instances leave, so with corrections."""

    def look(study_uid: str, series_uid: str) -> Attributes:
        from dicom_node.outgoing import shown_of
        from dicom_node.series_metadata import model_of

        with archive.database.reading() as tx:
            held = one_of(tx, study_uid, series_uid)
        if held is None:
            return Attributes()
        try:
            shown = shown_of(archive, study_uid)
            return series_details.read_of(model_of(archive, held, base="", shown=shown))
        except EngineError as error:
            # The damage is scrub's to tell; a search goes on with what the index has.
            log.warning("series.details_unread", instance=held.instance_uid, code=error.code)
            return Attributes()

    return look
