"""Keys, trust and sealed documents that the tests of reporting share."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from app.authority import Authority, ensure_authority, issue
from reporting.signers.pkcs12 import Pkcs12Signer, open_key_file
from reporting.trust import Trust, root_from
from storage.memory import MemoryObjects
from tests.reporting.reading_room import ReadingRoom
from tests.reporting.samples import HOUR, NOON

PASSPHRASE = "пароль 1"
MakeSigner = Callable[..., Pkcs12Signer]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The demo authority."""
    return ensure_authority(tmp_path_factory.mktemp("authority"), at=NOON - 1000 * HOUR)


@pytest.fixture(scope="session")
def trust(authority: Authority) -> Trust:
    """Trust in the demo authority alone."""
    return Trust((root_from(authority.root_file.read_bytes(), demo=True),))


def key_file(
    authority: Authority,
    *,
    reader_id: str = "r-1",
    valid_from: datetime = NOON - 100 * HOUR,
    valid_until: datetime = NOON + 10_000 * HOUR,
) -> Path:
    """A PKCS#12 file of a reader."""
    return issue(
        authority,
        reader_id=reader_id,
        name="Щърбанов Йордан",
        organisation="Обласна клінічна лікарня",
        passphrase=PASSPHRASE,
        valid_from=valid_from,
        valid_until=valid_until,
    )


@pytest.fixture
def make_signer(authority: Authority) -> MakeSigner:
    """Open a new key of the demo authority."""

    def make(authority: Authority = authority, **options: object) -> Pkcs12Signer:
        return open_key_file(key_file(authority, **options).read_bytes(), PASSPHRASE)  # type: ignore[arg-type]

    return make


@pytest.fixture
def room(tmp_path: Path, trust: Trust) -> Iterator[ReadingRoom]:
    """A node on SQLite with objects in memory."""
    url = f"sqlite:///{tmp_path / 'telerad.db'}"
    room = ReadingRoom(url, tmp_path, MemoryObjects(), trust, at=NOON)
    yield room
    room.close()


@pytest.fixture
def r1_signer(make_signer: MakeSigner) -> Pkcs12Signer:
    """The key of r-1."""
    return make_signer()
