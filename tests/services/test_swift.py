"""The suite's object store is real: it keeps bytes and refuses a wrong secret."""

import io

import pytest
from minio import Minio
from minio.error import S3Error

from tests.services.swift import Swift

pytestmark = pytest.mark.service


def _client(store: Swift, *, secret: str | None = None) -> Minio:
    return Minio(
        endpoint=store.endpoint,
        access_key=store.access_key,
        secret_key=secret or store.secret_key,
        secure=False,
        region=store.region,
    )


def test_what_was_put_is_read_back_whole_and_in_part(swift: Swift) -> None:
    client = _client(swift)
    client.make_bucket(bucket_name="smoke")
    client.put_object(
        bucket_name="smoke", object_name="a/б", data=io.BytesIO(b"0123456789"), length=10
    )
    whole = client.get_object(bucket_name="smoke", object_name="a/б")
    part = client.get_object(bucket_name="smoke", object_name="a/б", offset=3, length=4)
    assert (whole.read(), part.read()) == (b"0123456789", b"3456")
    whole.close()
    part.close()


def test_a_wrong_secret_is_refused(swift: Swift) -> None:
    with pytest.raises(S3Error) as refusal:
        _client(swift, secret="not-the-secret").bucket_exists(bucket_name="smoke")
    assert refusal.value.code in {"SignatureDoesNotMatch", "AccessDenied"}
