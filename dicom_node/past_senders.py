"""Who sent what came to an earlier version, which did not note what it assumed of them."""

from dicom_node import admission, orthanc_store, store
from dicom_node.errors import OrthancUnknown
from dicom_node.headers import Defaults, InstanceHeader
from dicom_node.orthancs import Orthanc
from dicom_node.source import Route, Source
from storage import arrears, patients
from storage.arrears import KeptAside, Sender
from storage.engine import Transaction


def whom(tx: Transaction, sender: Sender, header: InstanceHeader) -> str | None:
    """Return whom an instance names, among those who are registered; None if nobody can say.

    Where it states no issuer, what was assumed of its sender when it came is not on record: the
    only one with the id is meant, or whom the sender would mean today.
    """
    known = arrears.with_id(tx, header.patient_id)
    if header.issuer:
        ref = admission.patient_ref(header)
        return ref if ref in known else None
    if len(known) == 1:
        return next(iter(known))
    titles = arrears.sources(tx, header.instance_uid) if known else []
    meant = {_issuer(tx, title) for title in titles or [sender.ae_title]}
    refs = [ref for ref, issuer in known.items() if issuer in meant]
    unstated = [ref for ref, issuer in known.items() if not patients.is_stated(issuer)]
    for some in (refs, unstated):
        if len(some) == 1:
            return some[0]
    return sender.received_ref if sender.received_ref in known else None


def source_of(tx: Transaction, kept: KeptAside, sender: Sender) -> Source:
    """Return who sent what was kept aside, as far as that is on record."""
    peer = store.find_sender(tx, kept.source)
    if peer is not None:
        return Source(
            Route.DIMSE,
            kept.source,
            peer.organisation_id,
            Defaults(peer.issuer, peer.character_set),
        )
    orthanc = _orthanc(tx, kept.source)
    if orthanc is not None:
        defaults = Defaults(orthanc.issuer, orthanc.character_set)
        return Source(Route.ORTHANC, kept.source, orthanc.organisation_id, defaults)
    first = store.find_sender(tx, sender.ae_title) if sender.ae_title else None
    organisation = sender.organisation_id if first is None else first.organisation_id
    issuer = patients.unstated_issuer(organisation)
    return Source(Route.STOW, kept.source, organisation, Defaults(issuer))


def _issuer(tx: Transaction, source: str) -> str:
    """Return whose patient ids a sender has by now; empty if nobody said."""
    known = store.find_sender(tx, source) or _orthanc(tx, source)
    return "" if known is None else known.issuer


def _orthanc(tx: Transaction, name: str) -> Orthanc | None:
    try:
        return orthanc_store.get(tx, name)
    except OrthancUnknown:
        return None
