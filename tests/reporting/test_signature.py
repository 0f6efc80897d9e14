"""The signature: who may sign, what a sealed document proves, and what is found out."""

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from app.authority import DEMO, ensure_authority
from kernel.errors import Misconfigured
from reporting.certificates import require_fit
from reporting.errors import (
    AuthorityNotTrusted,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateOfAnother,
    CertificateUnfit,
    KeyFileUnreadable,
    SealBroken,
    WrongPassphrase,
)
from reporting.render import to_pdf
from reporting.signers.pkcs12 import open_key_file
from reporting.signing import seal
from reporting.trust import Trust, root_from
from reporting.verify import check, require_sealed
from tests.reporting.conftest import PASSPHRASE, key_file
from tests.reporting.samples import HOUR, NOON, a_content


@pytest.fixture(scope="session")
def sealed(authority) -> bytes:
    """A sealed document of the sample content."""
    signer = open_key_file(key_file(authority).read_bytes(), PASSPHRASE)
    return seal(to_pdf(a_content(), None), signer, author_name="A", reason="r", at=NOON)


def problem_of(pdf: bytes, trust: Trust) -> str | None:
    """What the check says of a document that should be the sample."""
    return check(pdf, trust, content_digest=a_content().digest(), at=NOON).problem


def pdfsig(pdf: bytes, tmp_path: Path) -> str:
    """The second opinion of another program."""
    path = tmp_path / "signed.pdf"
    path.write_bytes(pdf)
    done = subprocess.run(["pdfsig", "-nocert", path], capture_output=True, check=True, text=True)
    return done.stdout


def with_smaller_pages(pdf: bytes) -> bytes:
    """The document with its page cut in a revision appended after signing."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf), strict=False)
    page = writer.root["/Pages"]["/Kids"][0].get_object()
    page["/MediaBox"] = generic.ArrayObject([generic.NumberObject(n) for n in (0, 0, 99, 99)])
    writer.update_container(page)
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


@pytest.fixture(scope="session")
def checked(sealed: bytes, trust: Trust) -> Callable[[Callable[[bytes], bytes]], str | None]:
    """Say what the check finds in the sealed document after something was done to it."""
    return lambda change: problem_of(change(sealed), trust)


def covered(pdf: bytes) -> list[int]:
    """The positions of the bytes that the signature covers."""
    values = pdf[pdf.index(b"/ByteRange [") + 12 :].split(b"]", 1)[0]
    first, length, second, rest = (int(value) for value in values.split())
    return [*range(first, first + length), *range(second, second + rest)]


def test_a_sealed_document_proves_author_and_content(sealed, trust):
    found = check(sealed, trust, content_digest=a_content().digest(), at=NOON)

    assert found.problem is None
    assert found.content_digest == a_content().digest()
    assert found.subject == f"Щърбанов Йордан, {DEMO}, Обласна клінічна лікарня, r-1"


def test_another_program_finds_the_signature_valid_over_the_whole_file(sealed, tmp_path):
    said = pdfsig(sealed, tmp_path)

    assert "Signature is Valid." in said
    assert "Total document signed" in said
    assert "ETSI.CAdES.detached" in said
    assert "Signing Time: Nov 22 2026 12:00:00" in said
    assert said.count("Signature #") == 1


def test_a_sealed_document_is_still_sound(sealed, tmp_path):
    path = tmp_path / "signed.pdf"
    path.write_bytes(sealed)

    subprocess.run(["qpdf", "--check", path], check=True, capture_output=True)


def test_a_changed_page_in_an_appended_revision_is_found(sealed, trust):
    assert problem_of(with_smaller_pages(sealed), trust) is not None


def test_anything_appended_is_found(sealed, trust):
    assert problem_of(sealed + b"\n% harmless?\n", trust) is not None


def test_a_document_with_other_content_is_found(sealed, trust):
    other = a_content(accession="ACC-2").digest()

    with pytest.raises(SealBroken, match="not the content that was finalised"):
        require_sealed(sealed, trust, content_digest=other, at=NOON)


def test_an_unsigned_document_is_found(trust):
    assert problem_of(to_pdf(a_content(), None), trust) == "the document carries no signature"


def test_a_signature_that_somebody_else_trusts_is_found(sealed, tmp_path):
    other = ensure_authority(tmp_path, at=NOON - HOUR)
    trust = Trust((root_from(other.root_file.read_bytes(), demo=True),))

    assert problem_of(sealed, trust) == "the certificate of the signature is not trusted"


def test_a_certificate_that_ran_out_since_still_proves_what_was_signed_then(
    authority, make_signer, trust
):
    signer = make_signer(valid_until=NOON + HOUR)
    pdf = seal(to_pdf(a_content(), None), signer, author_name="A", reason="r", at=NOON)

    assert problem_of(pdf, trust) is None
    late = check(pdf, trust, content_digest=a_content().digest(), at=NOON + 2 * HOUR)
    assert late.problem == "the certificate of the signature is not trusted"


@settings(max_examples=80, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_changed_byte_under_the_signature_is_found(checked, place, flip):
    def change(pdf: bytes) -> bytes:
        signed = covered(pdf)
        changed = bytearray(pdf)
        changed[signed[int(place * len(signed))]] ^= flip
        return bytes(changed)

    assert checked(change) is not None


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=400), cut=st.floats(0, 1))
def test_whatever_the_bytes_are_the_answer_is_a_finding(checked, data, cut):
    assert checked(lambda _: data) is not None
    assert checked(lambda pdf: pdf[: int(cut * (len(pdf) - 20))] + data) is not None


@pytest.mark.parametrize(
    ("options", "refusal", "sentence"),
    [
        ({"valid_until": NOON - HOUR}, CertificateExpired, "expired on 2026-11-22 11:00"),
        ({"valid_from": NOON + HOUR}, CertificateNotYetValid, "valid from 2026-11-22 13:00"),
        ({"reader_id": "r-2"}, CertificateOfAnother, "somebody else"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(make_signer, trust, options, refusal, sentence):
    signer = make_signer(**options)

    with pytest.raises(refusal, match=sentence):
        require_fit(signer.certificate, signer.chain, trust, author="r-1", at=NOON)


def test_a_certificate_of_an_authority_that_is_not_trusted_is_refused(make_signer, trust, tmp_path):
    signer = make_signer(ensure_authority(tmp_path, at=NOON - 1000 * HOUR))

    with pytest.raises(AuthorityNotTrusted):
        require_fit(signer.certificate, signer.chain, trust, author="r-1", at=NOON)
    with pytest.raises(AuthorityNotTrusted):
        require_fit(signer.certificate, signer.chain, Trust(()), author="r-1", at=NOON)


def test_a_certificate_that_signs_certificates_does_not_sign_documents(trust, authority):
    root = trust.roots[0].certificate

    with pytest.raises(CertificateOfAnother):
        require_fit(root, (), trust, author="r-1", at=NOON)
    with pytest.raises(CertificateUnfit):
        require_fit(b"no certificate", (), trust, author="r-1", at=NOON)


def test_a_demo_certificate_is_known_as_one(make_signer, trust):
    signer = make_signer()

    assert require_fit(signer.certificate, signer.chain, trust, author="r-1", at=NOON).demo


def test_a_wrong_passphrase_is_told_from_a_wrong_file(authority):
    data = key_file(authority).read_bytes()

    for wrong in ("", "пароль 2", PASSPHRASE + " "):
        with pytest.raises(WrongPassphrase):
            open_key_file(data, wrong)
    for file in (b"", b"\x30\x03\x02\x01\x03", b"%PDF-1.7", data[:-9], data * 99):
        with pytest.raises(KeyFileUnreadable):
            open_key_file(file, PASSPHRASE)


def test_a_key_file_is_for_its_owner_alone(authority):
    assert key_file(authority).stat().st_mode & 0o777 == 0o600


def test_the_authority_of_a_directory_stays_the_same(authority):
    again = ensure_authority(authority.directory, at=NOON)

    assert again.certificate == authority.certificate


@pytest.mark.parametrize("data", [b"", b"-----BEGIN CERTIFICATE-----\nAA", b"text"])
def test_a_trust_root_that_is_none_stops_the_start(data):
    with pytest.raises(Misconfigured):
        root_from(data, demo=False)


def test_the_certificate_of_a_person_is_no_trust_root(make_signer):
    with pytest.raises(Misconfigured, match="authority"):
        root_from(make_signer().certificate, demo=False)
