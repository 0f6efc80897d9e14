"""Each rule of the house finds what it is for, and nothing beside it."""

from pathlib import PurePosixPath

import pytest

from tools.lint_house import RULES, check


def _rules(text: str, path: str = "worklist/case.py") -> list[str]:
    return [problem.rule for problem in check(PurePosixPath(path), text.encode())]


BREAKS = [
    ("noun-module", "x = 1", "worklist/utils.py"),
    ("noun-module", "x = 1", "worklist/helpers/__init__.py"),
    ("noun-module", "x = 1", "tests/worklist/common.py"),
    ("clock", "from datetime import datetime\nx = datetime.now()", "worklist/case.py"),
    ("clock", "import datetime as d\nx = d.datetime.utcnow()", "worklist/case.py"),
    ("clock", "from time import time as t\nx = t()", "storage/audit.py"),
    ("clock", "import time\nread = time.time", "storage/audit.py"),
    ("clock", "from datetime import datetime\nx = datetime.now()", "tests/worklist/test_case.py"),
    ("clock", "import time\nx = time.monotonic()", "tests/wire/server.py"),
    ("environment", "import os\nx = os.environ['HOME']", "app/relay.py"),
    ("environment", "from os import getenv\nx = getenv('HOME')", "storage/engine.py"),
    ("printing", "print('hello')", "app/relay.py"),
    ("relative-import", "from . import case", "worklist/queue.py"),
    ("status-literal", "word = 0xA700", "dicom_node/receive.py"),
    ("status-literal", "word = 0xc210", "dicom_node/receive.py"),
    ("swallowed", "try:\n    x()\nexcept:\n    raise", "worklist/case.py"),
    ("swallowed", "try:\n    x()\nexcept Exception:\n    pass", "worklist/case.py"),
    (
        "swallowed",
        "def f():\n    try:\n        x()\n    except Exception:\n        return None",
        "worklist/case.py",
    ),
    ("unfinished", "x = 1  # TO" + "DO: more", "tests/test_x.py"),
    ("machine-path", "where = '/" + "home/someone/data'", "app/demo/seed.py"),
]


@pytest.mark.parametrize(("rule", "text", "path"), BREAKS)
def test_a_broken_rule_is_named(rule: str, text: str, path: str) -> None:
    assert _rules(text, path) == [rule]


def test_every_rule_has_a_line_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BREAKS} == set(RULES)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("from datetime import datetime\nx = datetime.now()", "kernel/clock.py"),
        ("import os\nx = os.environ['HOME']", "app/bootstrap.py"),
        ("import os\nx = os.environ['CI']", "tests/services/missing.py"),
        ("print('ready')", "app/cli.py"),
        ("print('ready')", "app/cli_demo.py"),
        ("word = 0xA700", "dicom_node/statuses.py"),
        ("mask = 0xFFFF\ngroup = 0x0008", "dicom_node/receive.py"),
        ("try:\n    x()\nexcept Exception:\n    log()\n    raise", "worklist/case.py"),
        ("try:\n    x()\nexcept KeyError:\n    pass", "worklist/case.py"),
        ("def time(at):\n    return at.time()", "worklist/case.py"),
        ("where = '/home'", "app/http/routes.py"),
    ],
)
def test_what_is_allowed_passes(text: str, path: str) -> None:
    assert _rules(text, path) == []


def test_an_excuse_with_rule_and_reason_is_taken() -> None:
    line = "import time\nx = time.time()  # house: allow clock, the library wants seconds\n"
    assert _rules(line) == []


@pytest.mark.parametrize(
    "comment",
    ["# house: allow clock", "# house: allow speed, it is faster", "# house: allow printing, no"],
)
def test_an_excuse_without_reason_or_rule_or_use_is_a_problem(comment: str) -> None:
    text = f"import time\nx = time.time()  {comment}\n"
    assert "excuse" in _rules(text)


def test_a_problem_names_place_and_rule() -> None:
    (problem,) = check(PurePosixPath("app/relay.py"), b"print(1)")
    assert str(problem).startswith("app/relay.py:1: printing: ")
