"""TLS on the wire: who is who by certificate, and nobody is delayed by a handshake that stalls."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from itertools import cycle
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from dicom_node import commands, identity, send, store
from dicom_node.certificates import Binding, read
from dicom_node.doors import Door, PlainDoor, networks
from dicom_node.errors import (
    CertificateExpired,
    CertificateNotBound,
    CertificateOfAnother,
    CertificateOfAnotherSite,
    CertificateRevoked,
    CertificateUnknown,
    CertificateUnreadable,
    PeerUnreachable,
)
from dicom_node.part10 import split
from dicom_node.peers import Peer
from dicom_node.ports import listening
from dicom_node.send import Outgoing, SendSettings
from dicom_node.tls import ServerContexts, TlsFiles
from dicom_node.uids import EXPLICIT_LITTLE
from kernel.errors import Misconfigured
from kernel.people import ENGINE
from kernel.pulse import Pulse
from storage import audit
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.wire.conftest import Node, start, tls_door
from tests.wire.pki import Pair, make
from tests.wire.speaker import Speaker, associate_request, until

ACCEPT, REJECT = 2, 3
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="needs DCMTK")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Node]:
    node = start(tmp_path, kind="tls")
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def keys(node: Node) -> tuple[Pair, Pair]:
    assert node.keys is not None
    return node.keys


def change(node: Node, title: str, **fields: object) -> None:
    with node.database.transaction() as tx:
        peer = commands.get_peer(tx, title)
        commands.add_peer(tx, replace(peer, **fields), actor=ENGINE)  # type: ignore[arg-type]


def bind(node: Node, title: str, pair: Pair) -> None:
    with node.database.transaction() as tx:
        commands.bind_certificate(tx, title, pair.read, actor=ENGINE)


def answer(node: Node, pair: Pair, title: str, called: str = "TELERAD") -> tuple[int, bytes]:
    """Return what the node says to a caller with this certificate and title."""
    context = pair.client(keys(node)[0])
    with Speaker(node.port, calling=title, called=called, tls=context) as speaker:
        speaker.say(associate_request([(1, CT, [EXPLICIT_LITTLE])], called=called, calling=title))
        return speaker.hear()


def refusals(node: Node) -> list[tuple[str, object]]:
    with node.database.reading() as tx:
        return [
            (entry.subject, entry.detail["code"])
            for entry in audit.latest(tx)
            if entry.action == "association.refused"
        ]


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_both_versions_are_spoken_with_forward_secrecy(
    secured: Node, version: ssl.TLSVersion
) -> None:
    node, peers = keys(secured)
    context = peers.client(node, minimum_version=version, maximum_version=version)
    with Speaker(secured.port, tls=context) as speaker:
        assert speaker.associate() == ACCEPT
        assert isinstance(speaker.sock, ssl.SSLSocket)
        name, _, _ = speaker.sock.cipher() or ("", "", 0)
        assert name.startswith(("ECDHE-", "TLS_AES_", "TLS_CHACHA20_"))
        assert speaker.sock.compression() is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("highest", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (TLS_1_2, "AES256-SHA"),  # no forward secrecy
        (TLS_1_2, "ECDHE-ECDSA-AES256-SHA384"),  # no authenticated encryption
    ],
)
def test_what_the_profile_does_not_name_is_not_spoken(
    secured: Node, highest: ssl.TLSVersion, ciphers: str
) -> None:
    node, peers = keys(secured)
    context = peers.client(node)
    context.set_ciphers(ciphers)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = highest

    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        Speaker(secured.port, tls=context)
    assert secured.answers()


def test_a_title_is_that_of_its_certificate(secured: Node, tmp_path: Path) -> None:
    van2 = make(tmp_path, "van2")
    bind(secured, "VAN2", van2)

    assert answer(secured, van2, "VAN2")[0] == ACCEPT
    kind, body = answer(secured, van2, "VAN1")

    assert (kind, *body[1:4]) == (REJECT, 1, 1, 3)  # calling AE title not recognised
    assert refusals(secured) == [("ae:VAN1", CertificateOfAnother.code)]


def test_titles_are_checked_as_without_tls(secured: Node) -> None:
    peers = keys(secured)[1]

    assert answer(secured, peers, "VAN1", called="OTHER")[1][1:4] == bytes([1, 1, 7])
    assert answer(secured, peers, "STRANGER")[1][1:4] == bytes([1, 1, 3])


def test_a_certificate_that_nobody_bound_gets_no_session(secured: Node, tmp_path: Path) -> None:
    stranger = make(tmp_path, "stranger")

    with pytest.raises((OSError, AssertionError)):
        assert answer(secured, stranger, "VAN1")[0] == ACCEPT
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(keys(secured)[0].certificate_file)
    with pytest.raises((OSError, AssertionError)), Speaker(secured.port, tls=context) as nobody:
        assert nobody.associate() == ACCEPT
    assert secured.answers()


def test_revoking_is_heeded_at_the_next_association(secured: Node, tmp_path: Path) -> None:
    van2 = make(tmp_path, "van2")
    bind(secured, "VAN2", van2)
    bind(secured, "OTHER_SITE", van2)
    assert answer(secured, van2, "VAN2")[0] == ACCEPT

    with secured.database.transaction() as tx:
        commands.revoke_certificate(tx, "VAN2", van2.read.fingerprint, actor=ENGINE)

    assert answer(secured, van2, "VAN2")[0] == REJECT
    assert answer(secured, van2, "OTHER_SITE")[0] == ACCEPT
    assert refusals(secured) == [("ae:VAN2", CertificateRevoked.code)]
    with pytest.raises(CertificateUnknown), secured.database.transaction() as tx:
        commands.revoke_certificate(tx, "VAN2", van2.read.fingerprint, actor=ENGINE)
    bind(secured, "VAN2", van2)
    assert answer(secured, van2, "VAN2")[0] == ACCEPT


def test_a_title_that_moves_to_another_site_leaves_its_certificate(secured: Node) -> None:
    peers = keys(secured)[1]
    change(secured, "VAN2", organisation_id="o-2")

    assert answer(secured, peers, "VAN2")[0] == REJECT
    assert refusals(secured) == [("ae:VAN2", CertificateOfAnotherSite.code)]
    bind(secured, "VAN2", peers)
    assert answer(secured, peers, "VAN2")[0] == ACCEPT


def test_an_expired_certificate_gets_no_session_and_is_not_bound(
    secured: Node, tmp_path: Path
) -> None:
    day = timedelta(days=1)
    old = make(tmp_path, "old", valid=(-3 * day, -day))

    with pytest.raises(CertificateExpired):
        bind(secured, "VAN2", old)
    with secured.database.transaction() as tx:
        store.save_binding(
            tx, Binding(ae_title="VAN2", organisation_id="o-1", certificate=old.read)
        )
    with pytest.raises((OSError, AssertionError)):
        assert answer(secured, old, "VAN2")[0] == ACCEPT


def test_a_certificate_for_another_purpose_gets_no_session(secured: Node, tmp_path: Path) -> None:
    for name, purpose, good in [
        ("client", ExtendedKeyUsageOID.CLIENT_AUTH, True),
        ("server", ExtendedKeyUsageOID.SERVER_AUTH, False),
        ("mail", ExtendedKeyUsageOID.EMAIL_PROTECTION, False),
    ]:
        pair = make(tmp_path, name, purpose=purpose)
        bind(secured, "VAN2", pair)
        if good:
            assert answer(secured, pair, "VAN2")[0] == ACCEPT
        else:
            with pytest.raises((OSError, AssertionError)):
                assert answer(secured, pair, "VAN2")[0] == ACCEPT


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_session_that_is_taken_up_again_proves_no_more_than_its_certificate_does_now(
    secured: Node, version: ssl.TLSVersion
) -> None:
    node, peers = keys(secured)
    context = peers.client(node, minimum_version=version, maximum_version=version)
    with Speaker(secured.port, tls=context) as first:
        assert first.associate() == ACCEPT
        assert isinstance(first.sock, ssl.SSLSocket)
        session = first.sock.session

    def again(title: str) -> bytes:
        bare = socket.create_connection(("127.0.0.1", secured.port), timeout=10)
        with context.wrap_socket(bare, session=session) as sock:
            # OpenSSL forgets a session whose connection was cut, so even 1.2 may begin a new one.
            assert version is TLS_1_2 or not sock.session_reused
            sock.sendall(associate_request([(1, CT, [EXPLICIT_LITTLE])], calling=title))
            return sock.recv(1)

    assert again("VAN2") == bytes([ACCEPT])
    with secured.database.transaction() as tx:
        commands.revoke_certificate(tx, "VAN2", peers.read.fingerprint, actor=ENGINE)
    assert again("VAN2") == bytes([REJECT])
    assert again("VAN1") == bytes([ACCEPT])
    assert refusals(secured) == [("ae:VAN2", CertificateRevoked.code)]


def test_each_port_speaks_its_own_language(secured: Node) -> None:
    """Plain words on the TLS port and TLS on the plain one end at once, and harm nobody."""
    plain = secured.listener._ports[0][0].getsockname()[1]
    with Speaker(secured.port) as lost:
        lost.say(associate_request([(1, CT, [EXPLICIT_LITTLE])]))
        assert lost.hear()[0] in (0, 0x15)  # an alert of TLS, or nothing
    node, peers = keys(secured)
    with pytest.raises((ssl.SSLError, OSError)):
        Speaker(plain, tls=peers.client(node))
    assert secured.answers()
    assert replace(secured, port=plain, keys=None).answers()


def test_the_rule_in_every_case(tmp_path: Path) -> None:
    certificate = make(tmp_path, "one").read
    peer = Peer(ae_title="A", host="h", port=1, organisation_id="o", issuer="i")
    good = Binding(ae_title="A", organisation_id="o", certificate=certificate)
    now = certificate.not_before

    identity.require_proven(peer, [good, replace(good, ae_title="B")], at=now)
    for error, bindings, at in [
        (CertificateNotBound, [], now),
        (CertificateOfAnother, [replace(good, ae_title="B")], now),
        (CertificateOfAnotherSite, [replace(good, organisation_id="x")], now),
        (CertificateRevoked, [replace(good, revoked_at=now)], now),
        (CertificateExpired, [good], certificate.not_after),
        (CertificateExpired, [good], now - timedelta(seconds=1)),
    ]:
        with pytest.raises(error):
            identity.require_proven(peer, bindings, at=at)


def also_at(node: Node, door: Door) -> int:
    """Have a node listen at one more port."""
    sock = listening("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    node.listener._listen(sock, door, Pulse())
    return port


def test_an_authority_may_vouch_and_a_title_still_needs_its_certificate(tmp_path: Path) -> None:
    authority = make(tmp_path, "authority", authority=True)
    own, device, other = (
        make(tmp_path, name, issuer=authority) for name in ("own", "device", "other")
    )
    node = start(tmp_path / "node", kind="tls")
    try:
        node.listener._tls_door = door = tls_door(node.database, own, authority.certificate_file)
        port = also_at(node, door)
        with node.database.transaction() as tx:
            commands.bind_certificate(tx, "VAN1", device.read, actor=ENGINE)
        known = replace(node, port=port, keys=(authority, device))

        assert answer(known, device, "VAN1")[0] == ACCEPT
        assert answer(known, other, "VAN1")[0] == REJECT
        assert refusals(node) == [("ae:VAN1", CertificateNotBound.code)]
    finally:
        node.listener.stop(timedelta(seconds=5))
        node.journal.close()
        node.database.dispose()


def test_a_peer_with_tls_may_be_kept_off_the_plain_port(secured: Node) -> None:
    plain = secured.listener._ports[0][0].getsockname()[1]
    unsecured = replace(secured, port=plain, keys=None)
    assert unsecured.answers()

    change(secured, "VAN1", tls_required=True)

    with unsecured.speak() as speaker:
        assert speaker.associate() == REJECT
    with unsecured.speak("VAN2") as speaker:
        assert speaker.associate() == ACCEPT
    assert secured.answers()


def test_plain_calls_are_answered_from_trusted_networks_alone(own_node: Node) -> None:
    outside = PlainDoor(networks(["10.0.0.0/8", "::1"]))
    port = also_at(own_node, outside)

    with replace(own_node, port=port, keys=None).speak() as speaker:
        assert speaker.hear()[0] == 0  # closed unanswered
    inside = PlainDoor(networks(["127.0.0.0/8", "2001:db8::/32"]))
    assert inside.welcomes("127.9.9.9")
    assert inside.welcomes("::ffff:127.0.0.1")
    assert inside.welcomes("2001:db8::1%eth0")
    assert not inside.welcomes("192.0.2.1")
    with pytest.raises(Misconfigured, match="plain_networks"):
        networks(["10.0.0.0/33"])
    assert ip_network("10.0.0.0/8") in networks(["10.0.0.0/8"])


def test_handshakes_that_stall_delay_nobody(secured: Node) -> None:
    """More stall than are served at once; a good sender gets everything through meanwhile."""
    stalling = [socket.create_connection(("127.0.0.1", secured.port)) for _ in range(24)]
    over = threading.Event()

    def dribble() -> None:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
        for byte in cycle(hello):
            for sock in stalling[::2]:  # every second one says nothing at all
                try:
                    sock.send(bytes([byte]))
                except OSError:
                    continue
            if over.wait(0.01):
                return

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        with secured.speak() as speaker:
            assert speaker.associate((CT, EXPLICIT_LITTLE)) == ACCEPT
            for number in range(20):
                assert speaker.store(*as_sent(as_file(a_slice(number, study=70)))) == 0
            assert speaker.release() == 6
        for sock in stalling:  # each is dropped, by the handshake's own time
            sock.settimeout(10)
            try:
                while sock.recv(1000):
                    pass
            except ConnectionResetError:
                pass
    finally:
        over.set()
        thread.join()
        for sock in stalling:
            sock.close()
    assert secured.answers()


def test_stopping_ends_handshakes_too(tmp_path: Path) -> None:
    node = start(tmp_path, kind="tls")
    with socket.create_connection(("127.0.0.1", node.port)) as silent:
        until(lambda: bool(node.listener._lobby))
        node.listener.stop(timedelta(seconds=5))
        silent.settimeout(10)
        assert silent.recv(10) == b""
    assert not node.listener._threads
    node.journal.close()
    node.database.dispose()


def test_new_files_are_taken_up_while_it_runs(tmp_path: Path) -> None:
    node = make(tmp_path, "node")
    files = TlsFiles(certificate=node.certificate_file, key=node.key_file)
    bound: list[Binding] = []
    contexts = ServerContexts(
        files,
        fingerprints=lambda: [each.certificate.fingerprint for each in bound],
        bindings=lambda: bound,
    )
    first = contexts.current()

    assert contexts.current() is first
    bound.append(
        Binding(ae_title="A", organisation_id="o", certificate=make(tmp_path, "peer").read)
    )
    second = contexts.current()
    assert second is not first
    assert len(second.get_ca_certs(binary_form=True)) <= 1
    os.utime(make(tmp_path, "node").certificate_file, ns=(1, 1))
    assert contexts.current() is not second
    node.key_file.write_text("no key")
    with pytest.raises(Misconfigured):
        contexts.current()
    node.key_file.unlink()
    with pytest.raises(Misconfigured, match="cannot be read"):
        contexts.current()


@pytest.mark.parametrize(
    "junk", [b"", b"-----BEGIN CERTIFICATE-----\nx\n", b"\x30\x03abc", bytes(70_000)]
)
def test_what_is_no_certificate_is_refused(junk: bytes) -> None:
    with pytest.raises(CertificateUnreadable):
        read(junk)


# --- calling others ------------------------------------------------------------------------------


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[tuple[Peer, Pair, Pair, Path]]:
    """DCMTK's archive on TLS, its key, the key of the node, and where it puts what it gets."""
    own, archive = make(tmp_path, "own"), make(tmp_path, "archive")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    out = tmp_path / "received"
    out.mkdir()
    server = subprocess.Popen(
        ["storescp", "+B", *archive.dcmtk(own), "-aet", "ARCHIVE", "-od", str(out), str(port)],
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    peer = Peer(
        ae_title="ARCHIVE",
        host="127.0.0.1",
        port=port,
        organisation_id="o",
        issuer="i",
        tls=True,
    )
    until(lambda: _listens(port))
    yield peer, archive, own, out
    server.terminate()
    server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@needs_dcmtk
def test_instances_go_out_over_tls(storescp: tuple[Peer, Pair, Pair, Path]) -> None:
    peer, archive, own, out = storescp
    file = as_file(a_slice(side=300))
    uid = split(file).sop_instance_uid
    settings = SendSettings(ae_title="TELERAD", secure=own.calls(archive))

    (account,) = send.send([Outgoing(uid, file)], peer, settings)
    send.echo(peer, settings)

    assert account.ok
    (received,) = out.iterdir()
    assert received.read_bytes().endswith(file[split(file).data_set_offset :])


@needs_dcmtk
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_goes_to_whoever_shows_another_certificate(
    storescp: tuple[Peer, Pair, Pair, Path], tmp_path: Path
) -> None:
    peer, _, own, out = storescp
    outgoing = [Outgoing("1.2", as_file(a_slice()))]
    for trusted in ([make(tmp_path, "expected")], []):
        settings = SendSettings(ae_title="TELERAD", secure=own.calls(*trusted))
        with pytest.raises(PeerUnreachable):
            send.send(outgoing, peer, settings)
        with pytest.raises(PeerUnreachable):
            send.echo(peer, settings)
    with pytest.raises(PeerUnreachable, match="no certificate"):
        send.send(outgoing, peer, SendSettings(ae_title="TELERAD"))
    assert not list(out.iterdir())


def test_an_issuer_that_is_bound_does_not_vouch_for_others(tmp_path: Path) -> None:
    issuing = make(tmp_path, "issuing", authority=True)
    issued = make(tmp_path, "issued", issuer=issuing)
    own = make(tmp_path, "own")
    peer = Peer(ae_title="A", host="127.0.0.1", port=1, organisation_id="o", issuer="i", tls=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(issued.certificate_file, issued.key_file)
    with socket.create_server(("127.0.0.1", 0)) as bound:

        def serve() -> None:
            connection, _ = bound.accept()
            try:
                server.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        there = replace(peer, port=bound.getsockname()[1])
        with pytest.raises(PeerUnreachable, match="not bound"):
            send.send(
                [Outgoing("1.2", as_file(a_slice()))],
                there,
                SendSettings(ae_title="TELERAD", secure=own.calls(issuing)),
            )
        thread.join()
