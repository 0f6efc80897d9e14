"""A device taken away: it may not call and is called no more; what it sent is its organisation's.

The row stays, for whose a study is hangs on the title that sent it.  What the node still has to
tell it or to ask of it ends at its next attempt, given up or unwanted; an association that is open
ends by itself, as with a certificate that is taken back.

The rule and what was left are in docs/adr.
"""

from dicom_node import commands, store
from dicom_node.peers import Peer
from dicom_node.workitems import store as workitems
from dicom_node.workitems.subscriber import Channel, subscriber_id
from kernel.people import Actor
from storage import audit
from storage.engine import Transaction


def remove_peer(tx: Transaction, title: str, *, actor: Actor) -> Peer:
    """Register a device no longer, take its certificates back and end its subscriptions.

    `commands.add_peer` brings it back; its certificates have to be bound again.

    Raises
    ------
    AeTitleInvalid, PeerUnknown, PeerRemoved
        The text is no AE title, nobody registered it, or it was removed before.
    """
    peer = commands.get_peer(tx, title)
    store.remove_peer(tx, peer.ae_title)
    bound = [each for each in store.bindings(tx, peer.ae_title) if each.revoked_at is None]
    for binding in bound:
        fingerprint = binding.certificate.fingerprint
        commands.revoke_certificate(tx, peer.ae_title, fingerprint, actor=actor)
    reports = workitems.forget_subscriber(tx, subscriber_id(Channel.AE, peer.ae_title))
    audit.record(
        tx,
        actor=actor,
        action="peer.removed",
        subject=f"ae:{peer.ae_title}",
        detail={
            "organisation_id": peer.organisation_id,
            "certificates": len(bound),
            "reports": reports,
        },
    )
    return peer
