"""Importing a package costs nothing: no heavy toolkit, no environment, no network."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "kernel",
    "storage",
    "dicom_node",
    "worklist",
    "ai_assist",
    "reporting",
    "health_record",
    "app",
)
HEAVY = ("torch", "monai", "onnx", "onnxruntime", "playwright")

# An audit hook sees what a module does while it is imported, whichever way it does it.
WATCHED = """
    import importlib, os, sys

    own = sys.argv[2]
    asked, opened = [], []

    class Watched(type(os.environ)):
        def __getitem__(self, key):
            note(key)
            return super().__getitem__(key)

        def get(self, key, default=None):
            note(key)
            return super().get(key, default)

    def note(key):
        frame = sys._getframe(2)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if frame.f_code.co_filename.startswith(own) and "/.venv" not in frame.f_code.co_filename:
            asked.append(key)

    os.environ.__class__ = Watched

    def hook(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
            opened.append(event)

    sys.addaudithook(hook)
    importlib.import_module(sys.argv[1])
    print(*(name for name in sys.argv[3:] if name in sys.modules), *asked, *opened)
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_is_cheap_and_silent(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WATCHED), package, str(ROOT), *HEAVY],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", ["app.cli", "app.http", "dicom_node.listener"])
def test_the_web_the_listener_and_the_command_line_never_load_a_training_toolkit(
    module: str,
) -> None:
    script = "import importlib, sys; importlib.import_module(sys.argv[1]); " + (
        "print(*(name for name in ('torch', 'monai', 'onnx') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, module],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
