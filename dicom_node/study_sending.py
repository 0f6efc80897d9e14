"""Sending a study to a peer: one account for each instance of its manifest.

References
----------
DICOM PS3.4 Annex B.
"""

from collections.abc import Iterator

from dicom_node.outgoing import outgoing, shown_of
from dicom_node.peers import Peer
from dicom_node.send import Delivered, SendSettings
from dicom_node.sub_operations import ToPeer, context_of
from kernel.errors import EngineError
from storage import series_queries
from storage.archive import Archive, Manifest


def send_study(
    archive: Archive, manifest: Manifest, peer: Peer, settings: SendSettings
) -> Iterator[Delivered]:
    """Send what a manifest lists, one instance at a time; yield the account of each.

    Every entry has one account, whatever failed: what cannot be read, what the peer does not take,
    and what was left when it went away.
    """
    listed = {entry.instance_uid for entry in manifest.entries}
    with archive.database.reading() as tx:
        held = [
            each
            for each in series_queries.held(tx, manifest.study_uid)
            if each.instance_uid in listed
        ]
    shown = shown_of(archive, manifest.study_uid)
    with ToPeer(peer, settings, None, held) as way:
        for each in sorted(held, key=context_of):
            try:
                leaving = outgoing(archive, each, shown).begun()
            except EngineError as error:
                yield Delivered(each.instance_uid, None, error.sentence)
            else:
                yield way.deliver(each, leaving)
