"""Revocation lists: who shows a certificate that its authority took back is refused, and so said.

References
----------
RFC 5280 section 6.3, RFC 9325 section 7.5.
"""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from dicom_node import commands
from dicom_node.calling import Call
from dicom_node.certificates import Binding
from dicom_node.errors import (
    CertificateNotBound,
    CertificateRevokedByIssuer,
    NotProven,
    PeerUnreachable,
    RevocationListExpired,
    RevocationListMissing,
    RevocationUnknown,
)
from dicom_node.peers import Peer
from dicom_node.revocation import Revocations, read, require_unrevoked
from dicom_node.tls import TlsFiles, client_context
from dicom_node.uids import IMPLICIT_LITTLE, VERIFICATION
from kernel.clock import system_clock
from kernel.errors import Misconfigured
from kernel.people import ENGINE
from tests.wire.conftest import Node, start, tls_door
from tests.wire.pki import Pair, make, revoke
from tests.wire.test_tls import ACCEPT, REJECT, also_at, answer, refusals

DAY = timedelta(days=1)


@dataclass
class House:
    """A node whose TLS port asks the list of an authority, and two devices with certificates."""

    node: Node
    folder: Path
    authority: Pair
    ct: Pair
    mr: Pair

    def told(self, pair: Pair, title: str) -> int:
        return answer(self.node, pair, title)[0]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    authority = make(tmp_path, "authority", authority=True)
    own, ct, mr = (make(tmp_path, name, issuer=authority) for name in ("own", "ct", "mr"))
    node = start(tmp_path / "node", kind="tls")
    lists = revoke(tmp_path, authority)
    door = tls_door(node.database, own, authority.certificate_file, lists)
    node.listener._tls_door = door
    port = also_at(node, door)
    with node.database.transaction() as tx:
        commands.bind_certificate(tx, "VAN1", ct.read, actor=ENGINE)
        commands.bind_certificate(tx, "VAN2", mr.read, actor=ENGINE)
    yield House(replace(node, port=port, keys=(authority, ct)), tmp_path, authority, ct, mr)
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def test_a_new_list_is_heeded_at_the_next_association(house: House) -> None:
    assert house.told(house.ct, "VAN1") == ACCEPT

    revoke(house.folder, house.authority, house.ct)

    assert house.told(house.ct, "VAN1") == REJECT
    assert house.told(house.mr, "VAN2") == ACCEPT
    assert refusals(house.node) == [("ae:VAN1", CertificateRevokedByIssuer.code)]
    revoke(house.folder, house.authority)
    assert house.told(house.ct, "VAN1") == ACCEPT


def test_a_list_that_ran_out_lets_nobody_in_and_warns_before(house: House) -> None:
    revoke(house.folder, house.authority, valid=(-6 * DAY, DAY))  # the last fourth of seven days
    with capture_logs() as logs:
        assert house.told(house.ct, "VAN1") == ACCEPT
        assert house.told(house.mr, "VAN2") == ACCEPT
    (due,) = [each for each in logs if each["event"] == "tls.revocation_list_due"]
    assert (due["issuer"], due["log_level"]) == ("CN=authority", "warning")

    revoke(house.folder, house.authority, valid=(-7 * DAY, -timedelta(minutes=1)))

    with capture_logs() as logs:
        assert house.told(house.ct, "VAN1") == REJECT
    (told,) = [each for each in logs if each["event"] == "association.refused"]
    assert "revocation list of CN=authority holds from" in told["reason"]
    assert refusals(house.node) == [("ae:VAN1", RevocationListExpired.code)]
    revoke(house.folder, house.authority, valid=(DAY, 2 * DAY))  # the clock of one side is wrong
    assert house.told(house.ct, "VAN1") == REJECT


def test_lists_that_cannot_be_read_let_nobody_in(house: House) -> None:
    lists = house.folder / "revoked.crl"
    good = lists.read_bytes()
    for broken in (b"", good[:100], b"<html>the list is elsewhere now</html>"):
        lists.write_bytes(broken)
        with capture_logs() as logs:
            assert house.told(house.ct, "VAN1") == REJECT
        assert "tls.unusable" in [each["event"] for each in logs]
    lists.unlink()
    assert house.told(house.ct, "VAN1") == REJECT
    assert {code for _, code in refusals(house.node)} == {RevocationUnknown.code}

    lists.write_bytes(good)

    assert house.told(house.ct, "VAN1") == ACCEPT


def test_who_is_not_bound_learns_nothing_of_the_list(house: House) -> None:
    revoke(house.folder, house.authority, house.mr)
    assert house.told(house.mr, "READING") == REJECT
    stranger = make(house.folder, "stranger", issuer=house.authority)
    assert house.told(stranger, "VAN1") == REJECT
    assert refusals(house.node)[0] == ("ae:VAN1", CertificateNotBound.code)


# --- the rule ------------------------------------------------------------------------------------


def judge(
    shown: Pair, authorities: list[Pair], lists: list[Path], *, later: timedelta = timedelta()
) -> type[NotProven] | None:
    """Return what a certificate is refused with."""
    known = b"".join(each.certificate_file.read_bytes() for each in authorities)
    told = read(known, b"".join(each.read_bytes() for each in lists))
    try:
        require_unrevoked(shown.read.pem, told, at=system_clock() + later)
    except NotProven as refusal:
        return type(refusal)
    return None


def lists_of(folder: Path, *told: tuple[Pair, list[Pair]]) -> list[Path]:
    paths = []
    for issuer, revoked in told:
        inner = folder / f"{issuer.certificate_file.stem}-{len(list(folder.iterdir()))}"
        inner.mkdir()
        paths.append(revoke(inner, issuer, *revoked))
    return paths


def test_every_authority_above_is_asked(tmp_path: Path) -> None:
    root = make(tmp_path, "root", authority=True)
    middle = make(tmp_path, "middle", issuer=root, authority=True)
    leaf = make(tmp_path, "leaf", issuer=middle)
    clean = lists_of(tmp_path, (root, []), (middle, []))

    assert judge(leaf, [root, middle], clean) is None
    assert judge(leaf, [middle, root], clean, later=8 * DAY) is RevocationListExpired
    for named in ((root, [middle]), (middle, [leaf])):
        others = [root, middle]
        others.remove(named[0])
        lists = lists_of(tmp_path, named, (others[0], []))
        assert judge(leaf, [root, middle], lists) is CertificateRevokedByIssuer
    # Serial numbers count within one authority alone.
    swapped = lists_of(tmp_path, (root, [leaf]), (middle, [middle]))
    assert judge(leaf, [root, middle], swapped) is None
    # An authority that is trusted by itself has nobody above it who is known.
    assert judge(leaf, [middle], lists_of(tmp_path, (middle, []))) is None


def test_silence_is_no_consent(tmp_path: Path) -> None:
    one, other = (make(tmp_path, name, authority=True) for name in ("one", "other"))
    namesake = make(tmp_path / "elsewhere", "one", authority=True)
    leaf, alone = make(tmp_path, "leaf", issuer=one), make(tmp_path, "alone")

    assert judge(leaf, [one, other], lists_of(tmp_path, (other, []))) is RevocationListMissing
    assert judge(leaf, [other], lists_of(tmp_path, (other, []))) is RevocationListMissing
    assert judge(leaf, [namesake], lists_of(tmp_path, (namesake, []))) is RevocationListMissing
    # Who stands for itself is taken back by its binding.
    assert judge(alone, [one], lists_of(tmp_path, (one, []))) is None


def test_of_two_lists_the_newer_one_holds(tmp_path: Path) -> None:
    one = make(tmp_path, "one", authority=True)
    leaf = make(tmp_path, "leaf", issuer=one)
    (tmp_path / "old").mkdir()
    old = revoke(tmp_path / "old", one, leaf, valid=(-3 * DAY, DAY))
    new = revoke(tmp_path, one)

    assert judge(leaf, [one], [old, new]) is judge(leaf, [one], [new, old]) is None
    assert judge(leaf, [one], [old]) is CertificateRevokedByIssuer


def test_what_is_no_whole_list_of_an_authority_is_refused(tmp_path: Path) -> None:
    one, other = (make(tmp_path, name, authority=True) for name in ("one", "other"))
    known = one.certificate_file.read_bytes()
    forged = revoke(tmp_path, one, signer=other).read_bytes()
    part = revoke(tmp_path, one, marked=x509.DeltaCRLIndicator(1)).read_bytes()
    good = revoke(tmp_path, one).read_bytes()
    der = x509.load_pem_x509_crl(good).public_bytes(Encoding.DER)

    for lists, why in [
        (forged, "signed by none"),
        (good + forged, "signed by none"),
        (part, "part of one"),
        (der, "PEM"),
        (good + other.certificate_file.read_bytes(), "nothing else"),
        (b"", "PEM"),
        (good + good[:-10], "ends within"),
        (good.replace(b"M", b"N"), "cannot be read"),
    ]:
        with pytest.raises(Misconfigured, match=why):
            read(known, lists)
    assert read(known, b"Certificate Revocation List (CRL):\n  Version 2\n" + good)
    with pytest.raises(Misconfigured, match="cannot be read"):
        read(b"", good)


# --- calling others ------------------------------------------------------------------------------


@contextmanager
def archive_at(shown: Pair) -> Iterator[Peer]:
    """Give a peer that makes a TLS session and then hangs up."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown.certificate_file, shown.key_file)

    def serve() -> None:
        connection, _ = door.accept()
        with suppress(OSError), server.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve)
        thread.start()
        port = door.getsockname()[1]
        yield Peer(
            ae_title="A", host="127.0.0.1", port=port, organisation_id="o", issuer="i", tls=True
        )
        with suppress(OSError):  # where nobody called, who waits is let go
            socket.create_connection(("127.0.0.1", port)).close()
        thread.join()


def test_nobody_is_called_whose_certificate_was_taken_back(tmp_path: Path) -> None:
    authority = make(tmp_path, "authority", authority=True)
    own, archive = (make(tmp_path, name, issuer=authority) for name in ("own", "archive"))
    alone = make(tmp_path, "alone")
    lists = Revocations(authority.certificate_file, revoke(tmp_path, authority))
    files = TlsFiles(certificate=own.certificate_file, key=own.key_file)

    def call(shown: Pair, *bound: Pair) -> str:
        def context_of(peer: Peer) -> ssl.SSLContext:
            bindings = [
                Binding(ae_title=peer.ae_title, organisation_id="o", certificate=each.read)
                for each in bound
            ]
            at = system_clock()
            return client_context(files, bindings, refusal=lambda c: lists.refusal(c.pem, at=at))

        patience = timedelta(seconds=10)
        with archive_at(shown) as peer, pytest.raises(PeerUnreachable) as refusal:
            Call(
                [(VERIFICATION, IMPLICIT_LITTLE)],
                peer,
                calling="TELERAD",
                connect=patience,
                answer=patience,
                secure=context_of,
            )
        return refusal.value.sentence

    had_a_session = "no association with the peer could be had"
    assert call(archive, archive) == had_a_session
    revoke(tmp_path, authority, archive)
    assert "names the certificate" in call(archive, archive)
    assert call(alone, archive, alone) == had_a_session
    assert "no TLS session" in call(archive, archive, alone)
