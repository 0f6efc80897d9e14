"""Every package and every table stands in the import contract, and the contract holds."""

import configparser
import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
AROUND = {"tests", "tools", "bench"}  # not shipped, and free to import everything


def _contract() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def _lines(section: str, option: str) -> list[str]:
    return _contract()[section][option].split()


def test_every_top_level_folder_with_code_is_named_in_the_contract() -> None:
    folders = {
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if not path.parent.name.startswith(".")
    }
    assert folders - AROUND == set(_lines("importlinter", "root_packages"))


def test_every_floor_is_a_layer() -> None:
    layers = " ".join(_lines("importlinter:contract:floors", "layers")).replace("|", " ")
    assert set(layers.split()) == set(_lines("importlinter", "root_packages"))


def test_every_table_of_a_package_has_its_one_importer_named() -> None:
    packages = set(_lines("importlinter", "root_packages")) | {"identity"}
    files = {path.stem for path in (ROOT / "storage" / "tables").glob("*.py")}
    contract = _contract()
    protected = {
        module.removeprefix("storage.tables.")
        for section in contract.sections()
        if "protected_modules" in contract[section]
        for module in contract[section]["protected_modules"].split()
        if module.startswith("storage.tables.")
    }
    assert files & packages <= protected <= files


def test_the_kernel_stands_on_the_standard_library_alone() -> None:
    graph = grimp.build_graph("kernel", include_external_packages=True, cache_dir=None)
    outside = {name for name in graph.modules if graph.is_module_squashed(name)}
    assert outside <= sys.stdlib_module_names


def test_the_contract_holds() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
