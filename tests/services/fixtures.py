"""Fixtures that hand out the real servers; loaded by the root conftest as a plugin.

Each server is started at most once a test process, when the first test asks for it.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from storage.engine import Database
from storage.migrate import upgrade
from tests.services.chromium import chromium as run_chromium
from tests.services.missing import required
from tests.services.orthanc import Orthanc
from tests.services.orthanc import orthanc as run_orthanc
from tests.services.postgresql import PostgreSQL
from tests.services.postgresql import postgresql as run_postgresql
from tests.services.rabbitmq import RabbitMQ
from tests.services.rabbitmq import rabbitmq as run_rabbitmq
from tests.services.sekmet import Sekmet, running_sekmet
from tests.services.swift import Swift
from tests.services.swift import swift as run_swift


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A running PostgreSQL."""
    with required(), run_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def _migrated_template(postgresql: PostgreSQL) -> str:
    name = postgresql.create()
    database = Database(postgresql.url(name))
    try:
        upgrade(database)
    finally:
        database.dispose()  # a template must have no open connection when it is copied
    return name


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL, _migrated_template: str) -> Iterator[str]:
    """The URL of a migrated, empty database that only this test sees."""
    name = postgresql.create(template=_migrated_template)
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture
def blank_postgresql_url(postgresql: PostgreSQL) -> Iterator[str]:
    """The URL of a database without any table, for the tests of the migrations."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A running RabbitMQ that tests may kill and restart."""
    with required(), run_rabbitmq() as broker:
        yield broker


@pytest.fixture
def rabbitmq_url(rabbitmq: RabbitMQ) -> str:
    """The URL of an empty virtual host that only this test sees."""
    return rabbitmq.fresh_url()


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    """A running S3 object store."""
    with required(), run_swift() as store:
        yield store


@pytest.fixture(scope="session")
def orthanc() -> Iterator[Orthanc]:
    """A running Orthanc that sends and does not listen."""
    with required(), run_orthanc() as server:
        yield server


@pytest.fixture(scope="session")
def sekmet() -> Iterator[Sekmet]:
    """A running FHIR server that lets everybody in."""
    with required(), running_sekmet() as server:
        yield server


# One module at a time: while Playwright runs, its event loop occupies the main thread, and no
# other test could open one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A running headless browser."""
    with required(), run_chromium() as browser:
        yield browser
