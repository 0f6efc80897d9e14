"""The table of the rows, for a terminal and for ``docs/bench.md``."""

from collections.abc import Sequence

from bench.row import Row

_HEAD = ("case", "ours", "peer", "theirs", "unit", "ratio", "demand", "", "rounds")
_GAP = "  "


def as_text(rows: Sequence[Row]) -> str:
    """Return the rows in columns."""
    lines = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEAD))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table of a document."""
    lines = [_HEAD, ("---",) * len(_HEAD), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.case,
        f"{row.ours:.3g}" if row.ours < 1000 else f"{row.ours:.0f}",
        row.peer,
        f"{row.theirs:.3g}" if row.theirs < 1000 else f"{row.theirs:.0f}",
        row.unit,
        f"{row.ratio:.2f}",
        str(row.demand or ""),
        row.verdict,
        str(row.rounds),
    )
