"""Devices and archives that may speak with this node, and how they are called."""

from dataclasses import dataclass

from dicom_node import charsets
from dicom_node.errors import AeTitleInvalid, PeerInvalid
from kernel.people import Actor, Role

MAX_TITLE = 16
MAX_PORT = 65_535
_MAX_HOST = 253
_MAX_ISSUER = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A registered application entity.

    `issuer` is who gives out the patient ids that it sends without (0010,0021);
    `character_set` is what its data sets are written in where they do not say so; `reader_id` is
    the consultant whose workstation it is, who alone claims readings with it.
    `notify` says that it is told which studies are here (instance availability); `priors` that it
    is asked for a patient's earlier studies when a case opens.
    `tls` says that we call it over TLS, `tls_required` that it may call us over TLS alone.
    """

    ae_title: str
    host: str
    port: int
    organisation_id: str
    issuer: str
    character_set: str = ""
    reader_id: str = ""
    notify: bool = False
    priors: bool = False
    tls: bool = False
    tls_required: bool = False

    @property
    def actor(self) -> Actor:
        """The peer as one who acts, for its organisation if it has one."""
        return Actor(f"ae:{self.ae_title}", Role.DEVICE, self.organisation_id or None)


def ae_title(text: str) -> str:
    """Return an AE title as it is compared: without leading and trailing spaces.

    Raises
    ------
    AeTitleInvalid
        It is empty, longer than 16 characters, or has a backslash, a control character or a
        character outside the default repertoire.

    References
    ----------
    DICOM PS3.5 table 6.2-1, VR AE.
    """
    title = text.strip(" ")
    if not 0 < len(title) <= MAX_TITLE:
        raise AeTitleInvalid(f"an AE title has 1 to {MAX_TITLE} characters, not {len(title)}")
    if any(not " " <= character <= "~" or character == "\\" for character in title):
        raise AeTitleInvalid("an AE title has printable ASCII characters and no backslash")
    return title


def checked(peer: Peer) -> Peer:
    """Return the peer if it can be one.

    Raises
    ------
    AeTitleInvalid, PeerInvalid
        Its title, host, port, issuer or character set cannot be one.
    """
    if ae_title(peer.ae_title) != peer.ae_title:
        raise AeTitleInvalid("an AE title is registered without leading and trailing spaces")
    if not 0 < len(peer.host) <= _MAX_HOST or any(c.isspace() for c in peer.host):
        raise PeerInvalid("the host of a peer is a name or an address", host=peer.host)
    if not 0 < peer.port <= MAX_PORT:
        raise PeerInvalid(f"the port of a peer lies in 1 to {MAX_PORT}", port=peer.port)
    if not 0 < len(peer.issuer) <= _MAX_ISSUER:
        raise PeerInvalid("a peer needs an issuer of patient ids of at most 64 characters")
    if len(peer.reader_id) > _MAX_ISSUER:
        raise PeerInvalid("the id of a consultant has at most 64 characters")
    if peer.character_set and not charsets.is_known(peer.character_set):
        raise PeerInvalid("the character set is no defined term", character_set=peer.character_set)
    return peer
