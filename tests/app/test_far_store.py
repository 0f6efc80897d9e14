"""A remote store that hangs: who wants images waits or is told, and nobody else notices."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest

from storage.cache import PackCache
from storage.memory import MemoryObjects
from storage.packs import Packer
from tests.app.clinic import Clinic
from tests.wire.speaker import until
from tests.wire.test_far_packs import Far

VIEWERS = 60
"""More than there are threads for requests."""


class Hanging(Far):
    """It hangs from the first question on until the test is over."""

    over: threading.Event


@pytest.fixture(params=["fits", "too large"])
def far(clinic: Clinic, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hanging]:
    """The store of a clinic with one study."""
    study_uid = clinic.offered().study_uid
    far = Hanging(MemoryObjects())
    far.over = threading.Event()
    parts, scratch = clinic.parts, tmp_path / "scratch"
    Packer(parts.database, parts.journal, far, scratch).pack(study_uid)
    far.ranges = 0
    far.on_range = lambda: far.over.wait(60)
    limit = 1 << 30 if request.param == "fits" else 10
    clinic.engine.archive.objects = PackCache(far, tmp_path / "cache", limit=limit)
    yield far
    far.over.set()


def test_pages_are_shown_while_the_store_hangs(clinic: Clinic, far: Hanging) -> None:
    study = clinic.case().study_uid
    viewers = [clinic.program("dicomweb:read") for _ in range(VIEWERS)]
    answers: list[int] = []

    def look(number: int) -> None:
        answers.append(viewers[number].get(f"/dicomweb/studies/{study}").status_code)

    with ThreadPoolExecutor(VIEWERS) as looking:
        for number in range(VIEWERS):
            looking.submit(look, number)
        until(lambda: far.ranges > 0)
        shown = clinic.browser()
        for _ in range(3):
            assert shown.client.get("/sign-in", timeout=20).status_code == HTTPStatus.OK
        until(lambda: len(answers) >= VIEWERS // 2)
        assert set(answers) == {HTTPStatus.SERVICE_UNAVAILABLE}
        far.over.set()


def test_images_come_whole_from_afar(clinic: Clinic, far: Hanging) -> None:
    far.over.set()
    study = clinic.case().study_uid
    (uid,) = clinic.engine.archive.instances_of(study)
    viewer = clinic.program("dicomweb:read")
    whole = viewer.get(f"/dicomweb/studies/{study}")

    assert clinic.engine.archive.read(uid) in whole.content
    assert far.ranges > 0
