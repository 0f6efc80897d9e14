"""Fetch the pinned browser libraries with the npm client and keep only the files we serve.

Run as ``python tools/fetch_web_assets.py [DIRECTORY]``; the build hook calls `fetch`.  Standard
library only, because it runs before anything is installed.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tools" / "web_assets.json"
STATIC = ROOT / "app" / "web" / "static"
NPM_TIMEOUT_S = 300


class AssetsUnavailable(RuntimeError):
    """The libraries could not be had; the pages work without them, but plainer."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One npm package, pinned by the digest of its tarball."""

    package: str
    version: str
    licence: str
    integrity: str
    files: Mapping[str, str]


def pinned() -> list[Asset]:
    """Return the assets as they are pinned beside this file."""
    return [Asset(**row) for row in json.loads(PINS.read_text("utf-8"))]


def fetch(target: Path = STATIC) -> bool:
    """Put every pinned file into `target`; return whether anything had to be fetched.

    Raises
    ------
    AssetsUnavailable
        There is no npm client, it fails, or what came is not what was pinned.
    """
    assets = pinned()
    stamp = target / ".pinned"
    if _complete(target, stamp, assets):
        return False
    target.mkdir(parents=True, exist_ok=True)
    for asset in assets:
        _fetch_one(asset, target)
    stamp.write_text(_fingerprint())
    return True


def _complete(target: Path, stamp: Path, assets: list[Asset]) -> bool:
    if not stamp.is_file() or stamp.read_text() != _fingerprint():
        return False
    return all((target / name).is_file() for asset in assets for name in asset.files.values())


def _fingerprint() -> str:
    return hashlib.sha256(PINS.read_bytes()).hexdigest()


def _fetch_one(asset: Asset, target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tarball = _pack(asset, Path(folder))
        _check(asset, tarball)
        with tarfile.open(tarball) as packed:
            for inside, name in asset.files.items():
                member = packed.extractfile(f"package/{inside}")
                if member is None:
                    raise AssetsUnavailable(f"{asset.package} has no file {inside}")
                (target / name).write_bytes(member.read())


def _pack(asset: Asset, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise AssetsUnavailable("the npm client is not installed")
    command = [npm, "pack", "--silent", f"{asset.package}@{asset.version}"]
    try:
        done = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=NPM_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as slow:
        raise AssetsUnavailable(f"npm did not answer within {NPM_TIMEOUT_S} s") from slow
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(tarballs) != 1:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise AssetsUnavailable(f"npm could not fetch {asset.package}: {reason[0]}")
    return tarballs[0]


def _check(asset: Asset, tarball: Path) -> None:
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    found = "sha512-" + base64.b64encode(digest).decode()
    if found != asset.integrity:
        raise AssetsUnavailable(
            f"{asset.package}@{asset.version} does not have the pinned digest; it was not used"
        )


def main(arguments: list[str]) -> int:
    """Fetch into the named directory, or into the one the application serves."""
    target = Path(arguments[0]) if arguments else STATIC
    try:
        fetched = fetch(target)
    except AssetsUnavailable as reason:
        sys.stderr.write(f"web assets: {reason}; the pages work without them, but plainer\n")
        return 1
    if fetched:
        sys.stderr.write(f"web assets: {len(pinned())} libraries fetched and checked\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
