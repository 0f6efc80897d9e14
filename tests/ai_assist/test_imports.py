"""Importing the package is cheap: what the web and the listener import opens no AI toolkit."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "monai", "onnxruntime", "onnx")
LIGHT = ("ai_assist", "ai_assist.shelf", "ai_assist.commands", "ai_assist.reactions")


@pytest.mark.parametrize("module", [*LIGHT, "ai_assist.tasks", "ai_assist.sr"])
def test_importing_opens_no_ai_toolkit(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
