"""Write THIRD_PARTY.md from what the installed packages say of themselves.

Run as ``python -m tools.third_party`` in an environment made by ``make setup``.  It refuses a
package whose licence asks for more than attribution and is not explained in `EXPLAINED`.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "THIRD_PARTY.md"
COPYLEFT = re.compile(r"\bA?GPL|LGPL|GNU|MPL|Mozilla|EPL|CDDL|EUPL", re.I)

# What asks for more than attribution, and why it may be here all the same.
EXPLAINED = {
    "certifi": "MPL-2.0 asks for the source of changed files only; it is used unchanged.",
    "imagecodecs": "its wheel carries codecs of many works, under permissive licences, and libgomp "
    "of GCC (GPL-3.0 with the runtime library exception), all unchanged.",
    "orthanc-api-client": "LGPL-3.0; a separate, replaceable library, used unchanged.",
    "psycopg": "LGPL-3.0; a separate, replaceable library, used unchanged.",
    "psycopg-binary": "LGPL-3.0; a separate, replaceable library, used unchanged.",
}

HEAD = """\
# Third-party notices

telerad stands on these works. The list is made by `python -m tools.third_party` from what each
installed package says of itself, without version numbers: the environment has them (`pip list`).
"""

CARRIED = """\
## Carried in the source tree or in a built package

| work | licence | where |
|---|---|---|
| DejaVu fonts | Bitstream Vera and Arev licences, changes public domain | `reporting/fonts/` |
| Chest film, NIH Clinical Center | no restriction; citation asked | `app/demo/film/` |
"""


@dataclass(frozen=True, slots=True)
class Work:
    """One installed package and the licence it names."""

    name: str
    licence: str
    direct: bool


def works(root: str = "telerad") -> list[Work]:
    """Return what the distribution needs to run, extras left out, sorted by name."""
    waiting = list(_needs(distribution(root), frozenset()))
    direct = {_key(name) for name, _ in waiting}
    found: dict[str, Work] = {}
    while waiting:
        name, extras = waiting.pop(0)
        key = _key(name)
        if key in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform or Python
        found[key] = Work(key, _licence(package), key in direct)
        waiting += _needs(package, extras)
    return sorted(found.values(), key=lambda work: work.name)


def page(found: list[Work]) -> str:
    """Return the whole page."""
    assets = json.loads((ROOT / "tools" / "web_assets.json").read_text("utf-8"))
    lines = [HEAD, CARRIED.rstrip()]
    lines += [f"| {a['package']} | {a['licence']} | `app/web/static/` |" for a in assets]
    lines += ["", *_table("Asked for by name", [w for w in found if w.direct])]
    lines += ["", *_table("Needed by those", [w for w in found if not w.direct])]
    lines += ["", "## Licences that ask for more than attribution", ""]
    lines += [f"- **{w.name}**: {EXPLAINED[w.name]}" for w in found if w.name in EXPLAINED]
    return "\n".join(lines) + "\n"


def unexplained(found: list[Work]) -> list[Work]:
    """Return the works with a copyleft or unnamed licence that nobody has explained."""
    return [
        work
        for work in found
        if (work.licence == "" or COPYLEFT.search(work.licence)) and work.name not in EXPLAINED
    ]


def _table(title: str, rows: list[Work]) -> Iterator[str]:
    yield from (f"## {title}", "", "| package | licence |", "|---|---|")
    yield from (f"| {work.name} | {work.licence} |" for work in rows)


def _needs(package: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in package.requires or []:
        need = Requirement(text)
        wanted = need.marker is None or any(
            need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        )
        if wanted:
            yield need.name, frozenset(need.extras)


def _licence(package: Distribution) -> str:
    def told(field: str) -> list[str]:
        return [str(value) for value in package.metadata.get_all(field) or []]

    if expression := told("License-Expression"):
        return expression[0]
    # A licence field may hold a whole text; the classifiers are then the shorter name.
    if named := [line.split(" :: ")[-1] for line in told("Classifier") if "License ::" in line]:
        return "; ".join(named)
    stated = "".join(told("License")).strip()
    return stated.splitlines()[0][:60] if stated else ""


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Write the page, or say which licence has to be explained first."""
    found = works()
    if open_ones := unexplained(found):
        for work in open_ones:
            sys.stderr.write(f"{work.name}: '{work.licence}' has to be explained\n")
        return 1
    PAGE.write_text(page(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
