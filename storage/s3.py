"""Objects on any S3 server, through the minio client.

Several servers silently ignore conditional puts and object locks, so immutability is kept by our
own keys and checks, and what a server can do is probed at the start and shown in health.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import structlog
import urllib3
from minio import Minio
from minio.commonconfig import ENABLED
from minio.error import InvalidResponseError, MinioException, S3Error
from minio.versioningconfig import OFF
from urllib3.response import BaseHTTPResponse

from kernel.errors import Misconfigured
from kernel.ids import fresh
from storage.digests import are_alike, digest_of
from storage.objects import (
    FAR_BYTES,
    ObjectDiffers,
    ObjectMissing,
    ObjectStoreUnavailable,
    StoreAbilities,
    checked_digest,
    checked_key,
)
from storage.places import Places

_ABSENT = frozenset({"NoSuchKey", "NoSuchObject", "NotFound", "ResourceNotFound"})
_REFUSED = frozenset(
    {"AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "AuthorizationHeaderMalformed"}
)
_LACKING = frozenset({"NotImplemented", "MethodNotAllowed", "ObjectLockConfigurationNotFoundError"})
_DIGEST_HEADER = "telerad-digest"
_SHA256_HEADER = "telerad-sha256"  # of what versions before 0029 stored
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
_PIECE_BYTES = 1 << 18


log = structlog.get_logger()


class ObjectStoreRefusesKey(Misconfigured):
    """The S3 server does not take our access key or secret."""

    code = "storage.s3_access_refused"


class _PastTheEnd(Exception):
    """A range begins behind the last byte: it holds nothing."""


class S3Objects:
    """One bucket of an S3 server.

    Parameters
    ----------
    url
        ``http://host:port/bucket`` or ``https://…``.
    """

    def __init__(self, url: str, *, access_key: str, secret_key: str) -> None:
        parts = urlsplit(url)
        self._bucket = parts.path.strip("/")
        if parts.scheme not in {"http", "https"} or not parts.netloc or not self._bucket:
            raise Misconfigured("the S3 URL must be http(s)://host:port/bucket")
        self._places = Places()
        self._client = Minio(
            parts.netloc,
            access_key=access_key,
            secret_key=secret_key,
            secure=parts.scheme == "https",
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S),
                retries=urllib3.Retry(total=2, backoff_factor=0.2),
                maxsize=16,
            ),
        )

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.put`; read back by size and digest header before it counts."""
        checked_digest(data, digest)
        stored = self._digest(key, like=digest)
        if stored is None:
            self.replace(key, data, digest)
        elif stored != digest:
            raise ObjectDiffers("this key holds other bytes already", key=key)

    def replace(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.replace`."""
        size = checked_digest(data, digest)
        stream = io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")
        with stream, _named_failures():
            self._client.put_object(
                self._bucket, checked_key(key), stream, size, metadata={_DIGEST_HEADER: digest}
            )
        if self.size(key) != size:
            raise ObjectStoreUnavailable("the S3 server does not have what it just took")

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        if length == 0:  # the client reads a length of 0 as 'to the end'
            return b""
        try:
            return self._range(key, start, length)
        except _PastTheEnd:
            return b""

    def get_into(self, key: str, room: memoryview, *, start: int = 0) -> int:
        """See `ObjectStore.get_into`."""
        if not len(room):
            return 0
        try:
            with self._answer(key, start, len(room)) as answer:
                return _filled(room, answer)
        except _PastTheEnd:
            return 0

    def at_once(self, key: str) -> int:
        """See `ObjectStore.at_once`."""
        return FAR_BYTES

    def _range(self, key: str, start: int, length: int | None) -> bytes:
        with self._answer(key, start, length) as answer:
            return bytes(answer.read())

    @contextmanager
    def _answer(self, key: str, start: int, length: int | None) -> Iterator[BaseHTTPResponse]:
        with self._places, _named_failures():
            answer = self._client.get_object(
                self._bucket, checked_key(key), offset=start, length=length or 0
            )
            try:
                yield answer
            finally:
                answer.close()
                answer.release_conn()

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`."""
        try:
            with _named_failures():
                return self._client.stat_object(self._bucket, checked_key(key)).size
        except ObjectMissing:
            return None

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`; where the bucket keeps versions, of each of them.

        Those that the server locks stay until their time is over, out of sight.
        """
        with _named_failures():
            self._client.remove_object(self._bucket, checked_key(key))
            if self._versioning() != OFF:
                self._delete_versions(key)

    def _delete_versions(self, key: str) -> None:
        found = self._client.list_objects(self._bucket, prefix=key, include_version=True)
        for version in [each for each in found if each.object_name == key]:
            try:
                self._client.remove_object(self._bucket, key, version_id=version.version_id)
            except S3Error as error:
                if error.response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                log.warning("object.version_stays", key=key, code=error.code)

    def forget(self, key: str) -> None:
        """See `ObjectStore.forget`: there are no copies."""

    def probe(self) -> StoreAbilities:
        """Make the bucket if it is missing, try one object, and ask what the server can do.

        Raises
        ------
        ObjectStoreRefusesKey
            The access key or secret is wrong.
        """
        with _named_failures():
            if not self._client.bucket_exists(self._bucket):
                self._client.make_bucket(self._bucket)
        key, data = f"probe/{fresh()}", b"telerad"
        self.put(key, data, digest_of(data))
        self.delete(key)
        return StoreAbilities(
            "s3",
            versioning=self._versioning() == ENABLED,
            object_lock=self._locking(),
            conditional_put=False,
        )

    def _digest(self, key: str, *, like: str) -> str | None:
        """Return the digest of an object by the algorithm of another; None if there is none."""
        try:
            with _named_failures():
                stat = self._client.stat_object(self._bucket, checked_key(key))
        except ObjectMissing:
            return None
        for header in (_DIGEST_HEADER, _SHA256_HEADER):
            noted = (stat.metadata or {}).get(f"x-amz-meta-{header}")
            if noted and are_alike(str(noted), like):
                return str(noted)
        return digest_of(self.get(key), like=like)

    def _versioning(self) -> str:
        """Return whether the bucket keeps versions, or did; not known is not taken for never."""
        with _named_failures():
            try:
                return self._client.get_bucket_versioning(self._bucket).status or OFF
            except MinioException as error:
                if _is_lacking(error):
                    return OFF
                raise

    def _locking(self) -> bool:
        """Say whether the bucket locks; of a key that may not ask, nothing is decided by it."""
        with _named_failures():
            try:
                return self._client.get_object_lock_config(self._bucket) is not None
            except MinioException as error:
                if _is_lacking(error) or _code_of(error) == "AccessDenied":
                    return False
                raise


def _filled(room: memoryview, answer: BaseHTTPResponse) -> int:
    """Take an answer into memory as it comes, and not beside it; return how many bytes came."""
    filled = 0
    while filled < len(room) and (piece := answer.read(min(_PIECE_BYTES, len(room) - filled))):
        room[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled


def _is_lacking(error: MinioException) -> bool:
    """Say whether a server says that it does not do what was asked of it, or has none of it."""
    if isinstance(error, InvalidResponseError):  # not in the words of S3
        return error._code == HTTPStatus.NOT_IMPLEMENTED
    return _code_of(error) in _LACKING


def _code_of(error: MinioException) -> str:
    return (error.code or "") if isinstance(error, S3Error) else ""


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except S3Error as error:
        if error.code in _ABSENT:
            raise ObjectMissing("no object has this key") from error
        if error.code == "InvalidRange":
            raise _PastTheEnd from error
        if error.code in _REFUSED:
            raise ObjectStoreRefusesKey(
                f"the S3 server refuses the access key: {error.code}"
            ) from error
        raise ObjectStoreUnavailable(f"the S3 server answered {error.code}") from error
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise ObjectStoreUnavailable(
            f"the S3 server does not answer: {type(error).__name__}"
        ) from error
