"""Every library the engine needs is in the notices, and no licence surprises."""

import json
import re
import tomllib
from pathlib import Path

from tools.third_party import unexplained, works

ROOT = Path(__file__).parents[2]


def test_every_dependency_is_in_the_notices() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.split(r"[\[<>=~! ]", need)[0].lower() for need in project["dependencies"]}
    page = (ROOT / "THIRD_PARTY.md").read_text("utf-8")
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \|", page, re.M))
    assert {re.sub(r"[-_.]+", "-", name) for name in names} - listed == set()


def test_no_licence_that_asks_for_more_than_attribution_is_unexplained() -> None:
    assert unexplained(works()) == []


def test_every_browser_library_is_pinned_by_digest_and_in_the_notices() -> None:
    page = (ROOT / "THIRD_PARTY.md").read_text("utf-8")
    for asset in json.loads((ROOT / "tools" / "web_assets.json").read_text("utf-8")):
        assert asset["integrity"].startswith("sha512-")
        assert f"| {asset['package']} |" in page
