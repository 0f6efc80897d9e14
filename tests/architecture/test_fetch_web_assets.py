"""Browser libraries are used only when they are what was pinned."""

import os
import stat
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tools import fetch_web_assets
from tools.fetch_web_assets import AssetsUnavailable, fetch


def _npm_that_packs(folder: Path, content: bytes) -> None:
    """Put an npm on PATH that hands out one tarball of our making."""
    tarball = folder / "made.tgz"
    with tarfile.open(tarball, "w:gz") as packed:
        entry = tarfile.TarInfo("package/dist/htmx.min.js")
        entry.size = len(content)
        packed.addfile(entry, BytesIO(content))
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n/bin/cp {tarball} .\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)


def test_a_tarball_with_another_digest_is_refused_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _npm_that_packs(tmp_path, b"alert('not what was pinned')")
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    with pytest.raises(AssetsUnavailable, match="pinned digest"):
        fetch(tmp_path / "static")
    assert list((tmp_path / "static").glob("*.js")) == []


def test_without_npm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    with pytest.raises(AssetsUnavailable, match="npm client is not installed"):
        fetch(tmp_path / "static")


def test_what_is_there_and_pinned_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    names = [name for asset in fetch_web_assets.pinned() for name in asset.files.values()]
    for name in names:
        (tmp_path / name).write_text("kept")
    (tmp_path / ".pinned").write_text(fetch_web_assets._fingerprint())
    assert fetch(tmp_path) is False
