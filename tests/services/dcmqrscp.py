"""DCMTK's archive, ``dcmqrscp``, on a free port: where priors lie."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.missing import program
from tests.services.ports import accepts, free_port
from tests.services.process import Recipe, running

TITLE = "PACS"


@dataclass(frozen=True, slots=True)
class Archive:
    """A running dcmqrscp."""

    port: int
    ae_title: str = TITLE


@contextmanager
def dcmqrscp(*, destination: str, destination_port: int) -> Iterator[Archive]:
    """Run an empty dcmqrscp that sends to one destination for the time of a block.

    Raises
    ------
    ProgramMissing
        DCMTK is not installed.
    """
    folder = Path(tempfile.mkdtemp(prefix="telerad-dcmqrscp-"))
    (folder / "held").mkdir()
    archive = Archive(free_port())
    settings = folder / "dcmqrscp.cfg"
    settings.write_text(
        f"""\
NetworkTCPPort = {archive.port}
MaxPDUSize = 65536
MaxAssociations = 16
HostTable BEGIN
here = ({destination}, 127.0.0.1, {destination_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{TITLE} {folder / "held"} RW (200, 1024mb) ANY
AETable END
"""
    )
    recipe = Recipe(
        name="dcmqrscp",
        command=[program("dcmqrscp"), "-v", "-c", settings],
        cwd=folder,
        log=folder / "log",
        environment={"TCP_NODELAY": "1"},
        ready=lambda: accepts(archive.port),
        stop_signal=signal.SIGKILL,
    )
    try:
        with running(recipe):
            yield archive
    finally:
        shutil.rmtree(folder, ignore_errors=True)
