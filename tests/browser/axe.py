"""axe-core, fetched with the npm client and checked against its pinned digest."""

import base64
import hashlib
import subprocess
import tarfile
from pathlib import Path

from tests.services.missing import ProgramMissing, program

VERSION = "4.14.1"
INTEGRITY = (
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3N"
    "PjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
TIMEOUT_S = 120


def axe_source(folder: Path) -> str:
    """Return the minified source.

    Raises
    ------
    ProgramMissing
        There is no npm client, or it could not fetch the package.
    """
    npm = program("npm")
    done = subprocess.run(
        [npm, "pack", "--silent", f"axe-core@{VERSION}"],
        cwd=folder,
        check=False,
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    tarball = folder / f"axe-core-{VERSION}.tgz"
    if done.returncode != 0 or not tarball.is_file():
        raise ProgramMissing(f"axe-core {VERSION}")
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    assert f"sha512-{digest}" == INTEGRITY
    with tarfile.open(tarball) as packed:
        member = packed.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()
