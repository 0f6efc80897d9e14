"""A hospital adds a modality with TLS, by the commands of docs/running.md."""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.cli.command import listed, refused, running, telerad
from tests.wire.pki import Pair, make, revoke

AE_TITLE = "HOUSE"
NETWORK = """
[[organisation]]
id = "hospital"
name = "Hospital"
kind = "requesting"

[[peer]]
ae_title = "MR1"
host = "10.1.2.4"
port = 104
organisation = "hospital"
certificates = ["mr1.pem"]
tls = true
"""


def echo(port: int, title: str, *more: str) -> subprocess.CompletedProcess[str]:
    where = ["-aet", title, "-aec", AE_TITLE, "127.0.0.1", str(port)]
    return subprocess.run(
        ["echoscu", "-v", *more, *where], capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(shutil.which("echoscu") is None, reason="needs DCMTK")
def test_a_modality_is_added_with_its_certificate_and_taken_off(tmp_path: Path) -> None:
    data = tmp_path / "data"
    node, ct1, mr1 = make(data / "tls", "node"), make(tmp_path, "ct1"), make(tmp_path, "mr1")
    (tmp_path / "network.toml").write_text(NETWORK)
    with running(data, "--ae-title", AE_TITLE, "--dicom-tls-port", "0") as up:
        port = int(up.ready["dicom_tls_port"])
        added = telerad(
            *("peer", "add", "--data", data, "--ae", "CT1", "--host", "h", "--port", 104),
            *("--certificate", ct1.certificate_file),
        )
        loaded = telerad("network", "load", "--data", data, tmp_path / "network.toml")
        assert (added.returncode, loaded.returncode) == (0, 0), added.stderr + loaded.stderr
        fingerprint = ct1.read.fingerprint
        assert fingerprint in added.stdout

        assert echo(port, "CT1", *ct1.dcmtk(node)).returncode == 0
        assert echo(port, "MR1", *mr1.dcmtk(node)).returncode == 0
        stolen = echo(port, "CT1", *mr1.dcmtk(node))
        plain = echo(up.dicom_port, "CT1")
        assert "Calling AE Title Not Recognized" in stolen.stdout + stolen.stderr
        assert "Calling AE Title Not Recognized" in plain.stdout + plain.stderr

        health = httpx.get(f"{up.ready['http']}/health").json()
        (told,) = [each for each in health["checks"] if each["name"] == "dicom tls"]
        assert told["ok"]
        assert "CN=node until" in told["sentence"]

        revoke = ("peer", "revoke", "--data", data, "--ae", "CT1", "--fingerprint")
        assert telerad(*revoke, fingerprint).returncode == 0
        assert echo(port, "CT1", *ct1.dcmtk(node)).returncode != 0
        assert "no such certificate" in refused(*revoke, fingerprint)
        states = {row["ae_title"]: row for row in listed("peer", "certificates", "--data", data)}
        assert (states["CT1"]["state"], states["MR1"]["state"]) == ("revoked", "bound")
        peers = {row["ae_title"]: row for row in listed("peer", "list", "--data", data)}
        assert (peers["MR1"]["we_call"], peers["MR1"]["it_calls"]) == ("tls", "tls")
        assert (peers["CT1"]["we_call"], peers["CT1"]["it_calls"]) == ("plain", "tls")
        # Changing something else leaves what was said of TLS.
        again = telerad(
            "peer", "add", "--data", data, "--ae", "CT1", "--host", "new", "--port", 104, "--plain"
        )
        assert again.returncode == 0
        assert echo(up.dicom_port, "CT1").returncode == 0


def test_the_doctor_reads_the_certificate(tmp_path: Path) -> None:
    environment = {"TELERAD_DICOM__TLS_PORT": "0"}

    def check() -> tuple[bool, str]:
        done = telerad("doctor", "--data", tmp_path, "--json", environment=environment)
        (told,) = [c for c in json.loads(done.stdout)["checks"] if c["check"] == "dicom tls"]
        return told["ok"], told["detail"]

    assert check()[0] is False
    good = make(tmp_path / "tls", "node")
    ok, detail = check()
    assert ok, detail
    assert "CN=node until" in detail
    other = make(tmp_path / "tls", "other")
    shutil.copy(other.key_file, good.key_file)
    assert check()[0] is False
    told = refused("up", "--data", tmp_path, "--dicom-tls-port", "0")
    assert "certificate and key" in told


def test_an_expired_certificate_of_the_node_is_named(tmp_path: Path) -> None:
    make(tmp_path / "tls", "node", valid=(timedelta(days=-9), timedelta(days=-1)))
    done = telerad("doctor", "--data", tmp_path, environment={"TELERAD_DICOM__TLS_PORT": "0"})
    assert done.returncode == 1
    assert "FAIL dicom tls: the certificate of the node is valid" in done.stdout


def test_a_revocation_list_is_asked_while_it_holds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    authority = make(data / "tls", "authority", authority=True)
    make(data / "tls", "node", issuer=authority)
    ct1 = make(tmp_path, "ct1", issuer=authority)
    lists = revoke(data / "tls", authority)
    environment = {"TELERAD_DICOM__TLS_PORT": "0", "TELERAD_DICOM__TLS_CRL": "tls/revoked.crl"}
    told = refused("up", "--data", data, environment=environment)
    assert "dicom.tls_crl needs dicom.tls_client_ca" in told
    environment["TELERAD_DICOM__TLS_CLIENT_CA"] = "tls/authority.pem"

    def doctor() -> tuple[bool, str]:
        done = telerad("doctor", "--data", data, "--json", environment=environment)
        (told,) = [c for c in json.loads(done.stdout)["checks"] if c["check"] == "dicom tls"]
        return told["ok"], told["detail"]

    with running(data, "--ae-title", AE_TITLE, **environment) as up:
        port = int(up.ready["dicom_tls_port"])
        added = telerad(
            *("peer", "add", "--data", data, "--ae", "CT1", "--host", "h", "--port", 104),
            *("--certificate", ct1.certificate_file),
        )
        assert added.returncode == 0, added.stderr
        assert echo(port, "CT1", *ct1.dcmtk(authority)).returncode == 0
        ok, detail = doctor()
        assert (ok, "revocation list of CN=authority until" in detail) == (True, True), detail

        openssl_revokes(tmp_path, authority, ct1, lists)

        refusal = echo(port, "CT1", *ct1.dcmtk(authority))
        assert "Calling AE Title Not Recognized" in refusal.stdout + refusal.stderr
        ok, detail = doctor()
        assert ok
        assert "that of CT1 is refused: the revocation list of CN=authority names" in detail
        revoke(data / "tls", authority, valid=(timedelta(days=-7), timedelta(hours=-1)))
        assert echo(port, "CT1", *ct1.dcmtk(authority)).returncode != 0
        health = httpx.get(f"{up.ready['http']}/health").json()
        (check,) = [each for each in health["checks"] if each["name"] == "dicom tls"]
        assert "holds from" in check["sentence"]
    assert doctor()[0] is False


def openssl_revokes(folder: Path, authority: Pair, revoked: Pair, lists: Path) -> None:
    """Have OpenSSL write the list, as a hospital's authority does, with its text above."""
    ca = folder / "ca"
    ca.mkdir()
    (ca / "index.txt").touch()
    (ca / "crlnumber").write_text("01\n")
    (ca / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = own\n[own]\ndatabase = {ca}/index.txt\ncrlnumber = {ca}/crlnumber\n"
        "default_md = sha256\ndefault_crl_days = 7\n"
    )
    own = ["-config", ca / "ca.cnf", "-cert", authority.certificate_file]
    signing = ["openssl", "ca", *own, "-keyfile", authority.key_file]
    made = ca / "list.pem"
    for command in (
        [*signing, "-revoke", revoked.certificate_file],
        [*signing, "-gencrl", "-out", made],
        ["openssl", "crl", "-in", made, "-text", "-out", lists],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=60)
