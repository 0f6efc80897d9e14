"""Who a caller is: the rule that binds certificate, AE title and site.  Pure.

References
----------
DICOM PS3.15 section B.12; PS3.8 section 9.3.4 (a caller that is not who it says is rejected as
"calling AE title not recognised").
"""

from collections.abc import Sequence
from datetime import datetime

from dicom_node.certificates import Binding
from dicom_node.errors import (
    CertificateExpired,
    CertificateNotBound,
    CertificateOfAnother,
    CertificateOfAnotherSite,
    CertificateRevoked,
    TlsRequired,
)
from dicom_node.peers import Peer


def require_proven(peer: Peer, bindings: Sequence[Binding], *, at: datetime) -> None:
    """Require that the certificate a caller has shown is bound to the title that it names.

    Parameters
    ----------
    bindings
        Every binding of that certificate, to whatever title.

    Raises
    ------
    CertificateNotBound, CertificateOfAnother, CertificateOfAnotherSite, CertificateRevoked,
    CertificateExpired
        It is not, or not any more.
    """
    own = next((each for each in bindings if each.ae_title == peer.ae_title), None)
    if own is None and bindings:
        raise CertificateOfAnother("the certificate is bound to another AE title")
    if own is None:
        raise CertificateNotBound("the certificate is bound to no AE title")
    if own.revoked_at is not None:
        raise CertificateRevoked("the certificate was revoked for this AE title")
    if own.organisation_id != peer.organisation_id:
        raise CertificateOfAnotherSite(
            "the certificate was bound while the title was of another site"
        )
    if not own.certificate.not_before <= at < own.certificate.not_after:
        raise CertificateExpired("the certificate is not valid now")


def require_plain_allowed(peer: Peer) -> None:
    """Require that a peer may call without TLS.

    Raises
    ------
    TlsRequired
        It may not.
    """
    if peer.tls_required:
        raise TlsRequired("this AE title is accepted on the TLS port alone, with its certificate")
