"""Settings that were read apart: all that the models hold, nothing that reading them took."""

import json
import os
import subprocess
import sys
from pathlib import Path

TOLD = """
node = "node7"
production = true
[dicom]
ae_title = "APART"
views_all = ["o-1", "o-2"]
[retention]
by_modality = {MG = 15}
"""
READS = """
import json, sys
from pathlib import Path
from app.settings_apart import read_apart

def read():
    from app.settings import load
    return load(Path(sys.argv[1]))

apart = read_apart(read)
assert not any(name.startswith("pydantic") for name in sys.modules)
assert "hidden" not in repr(apart)
try:
    apart.dicom.port = 1
except AttributeError:
    pass
else:
    raise AssertionError("it can be changed")

whole, compared = read(), []
for name in (*type(whole).model_fields, "database_url"):
    here, there = getattr(apart, name), getattr(whole, name)
    for field in type(there).model_fields if hasattr(there, "model_fields") else [""]:
        one = getattr(here, field) if field else here
        other = getattr(there, field) if field else there
        if hasattr(other, "get_secret_value"):
            one, other = one.get_secret_value(), other.get_secret_value()
        assert (type(one), one) == (type(other), other), (name, field)
        compared.append(f"{name}.{field}" if field else name)
print(json.dumps([compared, apart.record.fhir_token.get_secret_value(), apart.node]))
"""


def read(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", READS, folder],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_they_are_those_of_the_models_and_bring_no_library(tmp_path: Path) -> None:
    (tmp_path / "telerad.toml").write_text(TOLD)
    done = read(tmp_path, TELERAD_RECORD__FHIR_TOKEN="hidden")

    assert done.returncode == 0, done.stderr
    compared, token, node = json.loads(done.stdout)
    assert {"data", "database_url", "dicom.views_all", "retention.by_modality"} <= set(compared)
    assert (token, node) == ("hidden", "node7")


def test_what_cannot_be_read_is_refused_as_it_is_anywhere(tmp_path: Path) -> None:
    (tmp_path / "telerad.toml").write_text("[dicom]\nport = 99999999\n")
    done = read(tmp_path)

    assert done.returncode != 0
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("app.settings.SettingsWrong: the setting 'dicom.port' cannot be used")
