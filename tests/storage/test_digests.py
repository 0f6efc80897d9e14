"""A digest names its algorithm; which one it is, the digest that it is compared with says."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digests import (
    MAX_DIGEST,
    are_alike,
    digest_of,
    digest_of_all,
    digest_of_file,
    hashing,
    spelled,
)

OF_ABC = {
    # test_vectors.json of BLAKE3 has no words; this is `b3sum` of the three letters.
    "blake3": "blake3-6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    # FIPS 180-2, B.1
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
}


def test_what_is_stored_now_is_known_by_its_blake3() -> None:
    assert digest_of(b"abc") == spelled(_taken(b"abc")) == OF_ABC["blake3"]
    assert len(OF_ABC["blake3"]) == MAX_DIGEST


@pytest.mark.parametrize("name", OF_ABC)
def test_a_digest_is_made_like_another(name: str, tmp_path: Path) -> None:
    like = OF_ABC[name]
    (tmp_path / "file").write_bytes(b"abc")
    assert digest_of(b"abc", like=like) == like
    assert digest_of_all((b"a", b"", b"bc"), like=like) == like
    assert digest_of_file(tmp_path / "file", like=like) == like
    assert hashing(like).name == name


def test_two_algorithms_are_never_compared() -> None:
    assert are_alike(OF_ABC["blake3"], digest_of(b"x"))
    assert are_alike(OF_ABC["sha256"], hashlib.sha256().hexdigest())
    assert not are_alike(OF_ABC["sha256"], OF_ABC["blake3"])


@given(st.lists(st.binary(max_size=3000), max_size=6), st.sampled_from(sorted(OF_ABC.values())))
def test_it_does_not_matter_in_which_pieces_bytes_come(pieces: list[bytes], like: str) -> None:
    whole = b"".join(pieces)
    assert digest_of_all(pieces, like=like) == digest_of(whole, like=like)
    if are_alike(like, OF_ABC["sha256"]):
        assert digest_of(whole, like=like) == hashlib.sha256(whole).hexdigest()


def _taken(data: bytes):  # type: ignore[no-untyped-def]
    hasher = hashing()
    hasher.update(data)
    return hasher
