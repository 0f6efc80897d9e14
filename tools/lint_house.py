"""The rules of the house that no ready-made linter knows.

Run as ``python -m tools.lint_house [PATH ...]``.  Each problem is one line that names its rule.
A line may be excused by a comment that names the rule and gives the reason::

    started = time.time()  # house: allow clock, the library wants seconds since 1970

An excuse that names no known rule, or excuses nothing, is itself a problem.
"""

import ast
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = (
    "kernel",
    "storage",
    "dicom_node",
    "worklist",
    "ai_assist",
    "reporting",
    "health_record",
    "app",
)
AROUND = ("tests", "tools", "bench")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One line that breaks one rule."""

    path: str
    line: int
    rule: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file, parsed once for every rule."""

    path: PurePosixPath
    tree: ast.Module
    tokens: list[tokenize.TokenInfo] = field(repr=False)

    @property
    def is_product(self) -> bool:
        """Whether the file is shipped."""
        return self.path.parts[0] in PRODUCT


Found = Iterator[tuple[int, str]]
Rule = Callable[[Source], Found]

JOBLESS_NAMES = frozenset(
    {"utils", "util", "helpers", "helper", "common", "manager", "service", "processor", "base"}
)
CLOCKS = frozenset(
    {
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "date.today",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.monotonic_ns",
    }
)
ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"})
# Failure, warning and pending answers of PS3.7 Annex C and PS3.4 Annex B as they are written.
STATUS_LITERAL = re.compile(r"0x(A[79][0-9A-F]{2}|C[0-9A-F]{3}|B0[0-9A-F]{2}|FE00|FF0[01])", re.I)
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HACK)\b")
MACHINE_PATH = re.compile(r"^/(work|root|home)/\w")
EXCUSE = re.compile(r"#\s*house:\s*allow\s+([a-z-]+)\s*[,:]?\s*(.*)$")


def noun_module(source: Source) -> Found:
    """A module is named for the thing it defines."""
    stem = source.path.parent.name if source.path.stem == "__init__" else source.path.stem
    if stem.lstrip("_") in JOBLESS_NAMES:
        yield 1, f"'{stem}' names no thing; name the module for what it defines"


def clock(source: Source) -> Found:
    """Only kernel/clock.py reads the time, for tests as well."""
    told = source.is_product or source.path.parts[0] == "tests"
    if told and source.path != PurePosixPath("kernel/clock.py"):
        for node, name in _dotted_names(source.tree):
            if name in CLOCKS:
                yield node.lineno, f"{name} reads the time; take `at`, or a Clock, as an argument"


def environment(source: Source) -> Found:
    """Only app/bootstrap.py reads the environment."""
    if source.is_product and source.path != PurePosixPath("app/bootstrap.py"):
        for node, name in _dotted_names(source.tree):
            if name in ENVIRONMENT:
                yield node.lineno, f"{name} is read in app/bootstrap.py only; take a setting"


def printing(source: Source) -> Found:
    """Only the command line prints."""
    if source.is_product and not _is_command_line(source.path):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and _name(node.func) == "print":
                yield node.lineno, "print belongs to the command line; log an event"


def relative_import(source: Source) -> Found:
    """Imports name the whole way."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "write the import from the top-level package"


def status_literal(source: Source) -> Found:
    """DIMSE status words are spelled in dicom_node/statuses.py only."""
    if not source.is_product or source.path == PurePosixPath("dicom_node/statuses.py"):
        return
    for token in source.tokens:
        if token.type == tokenize.NUMBER and STATUS_LITERAL.fullmatch(token.string):
            yield token.start[0], f"{token.string} is a status word; use its name from statuses"


def swallowed(source: Source) -> Found:
    """No failure is turned into absence."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield node.lineno, "name the exceptions that are meant"
        elif _name(node.type) in {"Exception", "BaseException"} and _does_nothing(node.body):
            yield node.lineno, "a failure must not become silence; name it, tell it or pass it on"


def unfinished(source: Source) -> Found:
    """What is begun is finished or not there."""
    for token in source.tokens:
        if token.type == tokenize.COMMENT and (mark := UNFINISHED.search(token.string)):
            yield token.start[0], f"'{mark[0]}' marks unfinished work; finish it or take it out"


def machine_path(source: Source) -> Found:
    """No path of one machine is written down."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if MACHINE_PATH.match(node.value):
            yield node.lineno, f"'{node.value[:30]}' is a path of one machine; take a setting"


RULES: dict[str, Rule] = {
    "noun-module": noun_module,
    "clock": clock,
    "environment": environment,
    "printing": printing,
    "relative-import": relative_import,
    "status-literal": status_literal,
    "swallowed": swallowed,
    "unfinished": unfinished,
    "machine-path": machine_path,
}


def check(path: PurePosixPath, text: bytes) -> list[Problem]:
    """Return every problem of one file; `path` is relative to the project."""
    tokens = list(tokenize.tokenize(BytesIO(text).readline))
    source = Source(path, ast.parse(text), tokens)
    excuses = _excuses(source)
    problems, used = [], set()
    for rule, find in RULES.items():
        for line, sentence in find(source):
            if rule in excuses.get(line, ()):
                used.add((line, rule))
            else:
                problems.append(Problem(str(path), line, rule, sentence))
    problems += _bad_excuses(source, excuses, used)
    return sorted(problems)


def _excuses(source: Source) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for token in source.tokens:
        if token.type == tokenize.COMMENT and (excuse := EXCUSE.search(token.string)):
            found.setdefault(token.start[0], set()).add(excuse[1])
    return found


def _bad_excuses(
    source: Source, excuses: dict[int, set[str]], used: set[tuple[int, str]]
) -> Iterator[Problem]:
    for token in source.tokens:
        excuse = EXCUSE.search(token.string) if token.type == tokenize.COMMENT else None
        if excuse and excuse[1] in RULES and not excuse[2].strip():
            yield Problem(str(source.path), token.start[0], "excuse", "give the reason")
    for line, rules in excuses.items():
        for rule in sorted(rules):
            if rule not in RULES:
                yield Problem(str(source.path), line, "excuse", f"there is no rule '{rule}'")
            elif (line, rule) not in used:
                yield Problem(str(source.path), line, "excuse", f"'{rule}' is not broken here")


def _name(node: ast.expr) -> str:
    """Return the dotted name that an expression spells, or nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _name(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _dotted_names(tree: ast.Module) -> Iterator[tuple[ast.Attribute | ast.Name, str]]:
    """Yield each dotted name with the module names that its imports stand for."""
    aliases = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = _name(node).partition(".")
            yield node, aliases.get(first, first) + dot + rest


def _aliases(tree: ast.Module) -> dict[str, str]:
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases.update({name.asname: name.name for name in node.names if name.asname})
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "time", "datetime"}:
            for name in node.names:
                aliases[name.asname or name.name] = f"{node.module}.{name.name}"
    return aliases


def _is_command_line(path: PurePosixPath) -> bool:
    return path.parts[0] == "app" and path.parts[1].startswith("cli")


def _does_nothing(body: list[ast.stmt]) -> bool:
    for statement in body:
        match statement:
            case ast.Pass() | ast.Continue() | ast.Break():
                continue
            case ast.Expr(ast.Constant()):
                continue
            case ast.Return(None | ast.Constant(None | False)):
                continue
            case _:
                return False
    return True


def _files(named: Iterable[str]) -> Iterator[Path]:
    tops = (ROOT / top for top in PRODUCT + AROUND)
    paths = [Path(name).resolve() for name in named] or [top for top in tops if top.is_dir()]
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def main(arguments: list[str]) -> int:
    """Check the named files and folders, or the whole project; return the exit code."""
    problems: list[Problem] = []
    for path in _files(arguments):
        inside = PurePosixPath(path.relative_to(ROOT).as_posix())
        problems += check(inside, path.read_bytes())
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
