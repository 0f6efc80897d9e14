"""Coverage-guided fuzzing, a short round of each target; `make fuzz` goes on for longer."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
RUNS = 20_000
MEMORY_MB = 1024
HANG_S = 20

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python"
)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.filterwarnings("ignore")  # pydicom's, about the files themselves
def test_what_fuzzing_starts_from_is_no_finding(target: str) -> None:
    for seed in [b"", *seeds(target)]:
        TARGETS[target](seed)


@needs_atheris
@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_do_more_than_be_refused(target: str, tmp_path: Path) -> None:
    options = [f"-runs={RUNS}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MB}", "-seed=1"]
    options += [f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.run"]
    done = subprocess.run(
        # By way of a small process: what this one has in memory would count as the child's peak.
        ["sh", "-c", '"$@"; exit $?', "sh", *command, target, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
    )

    found = [each.read_bytes()[:400] for each in tmp_path.iterdir()]
    assert done.returncode == 0, f"{found}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert f"Done {RUNS} runs" in done.stderr
