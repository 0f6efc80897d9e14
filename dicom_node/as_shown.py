"""What is archived as it is right by now, for who makes new objects of it.

The toolkit that rewrites is loaded once something has to be rewritten, for the process that only
receives holds one of these, too.
"""

from storage.archive import Archive
from storage.held import studies_of
from storage.shown import study_shown


class AsShown:
    """The archive for who makes new objects of what it holds: these say what is right by now."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def read(self, instance_uid: str) -> bytes:
        """Return the file of an instance as it leaves.

        Raises
        ------
        InstanceUnknown, InstanceDamaged, SegmentElsewhere
            See `Archive.read`.
        CorrectionNotShown
            It cannot be rewritten.
        """
        file = self._archive.read(instance_uid)
        with self._archive.database.reading() as tx:
            studies = sorted(studies_of(tx, [instance_uid]))
            shown = study_shown(tx, studies[0]) if studies else None
        own = None if shown is None else shown.of(instance_uid)
        if own is None:
            return file
        from dicom_node.corrected import corrected

        return corrected(file, own)
