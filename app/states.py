"""Prints docs/states.md from the tables that the state machines move by."""

import inspect
from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Any

from ai_assist import runs
from health_record import delivery
from reporting import report
from worklist import case

_MACHINES: tuple[tuple[str, str, Mapping[Any, frozenset[Any]]], ...] = (
    ("Case", "worklist.case", case.MOVES),
    ("Triage run", "ai_assist.runs", runs.MOVES),
    ("Report version", "reporting.report", report.MOVES),
    ("Delivery", "health_record.delivery", delivery.MOVES),
)


def markdown() -> str:
    """Return every state machine as a diagram and a table, made from its MOVES."""
    parts = [
        "# States\n\nMade by `telerad states` from the tables in the code; a test keeps it so.\n"
    ]
    for title, module, moves in _MACHINES:
        parts.append(f"\n## {title}\n\n`{module}.MOVES`\n\n{_diagram(moves)}\n{_table(moves)}")
    return "".join(parts)


def _diagram(moves: Mapping[Any, frozenset[Any]]) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for source, targets in moves.items():
        lines += [f"    {source} --> {target}" for target in sorted(targets)]
        if not targets:
            lines.append(f"    {source} --> [*]")
    return "\n".join([*lines, "```", ""])


def _table(moves: Mapping[Any, frozenset[Any]]) -> str:
    said = _meanings(type(next(iter(moves))))
    lines = ["| state | may become | meaning |", "|---|---|---|"]
    for source, targets in moves.items():
        row = ", ".join(sorted(targets)) or "–"
        lines.append(f"| {source} | {row} | {said.get(source.name, '')} |")
    return "\n".join([*lines, ""])


def _meanings(states: type[StrEnum]) -> dict[str, str]:
    """Return the docstring below each member, as written in the source."""
    lines = [line.strip() for line in inspect.getsource(states).splitlines()]
    return {
        line.split(" = ")[0]: said.strip('"')
        for line, said in pairwise(lines)
        if " = " in line and said.startswith('"""')
    }
