"""A row of the table, and the page that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MARKS = {True: "met", False: "**falls short**", None: "not measured"}


@dataclass(frozen=True)
class Row:
    """One measure with its aim.

    :param met: whether it reached the aim; ``None`` where there is nothing to say that by
    """

    measure: str
    beside: str
    aim: str
    measured: str
    met: bool | None


@dataclass
class Part:
    """What one module found: rows, and what there is to say besides (how it was measured, how the cost grows)."""

    title: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def not_measured(measure: str, beside: str, aim: str, why: str) -> Row:
    """A row that stays in the table, and says why it is empty."""
    return Row(measure, beside, aim, f"not measured: {why}", None)


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Markdown of it."""
    cells = [list(head), ["---"] * len(head), *([str(cell) for cell in line] for line in lines)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)


def page(parts: Sequence[Part], about: str) -> str:
    """All of them as one page."""
    rows = [(row.measure, row.beside, row.aim, row.measured, MARKS[row.met]) for part in parts for row in part.rows]
    sections = [f"## {part.title}\n\n" + "\n\n".join(part.notes) for part in parts if part.notes]
    whole = table(["measure", "beside", "aim", "measured", "aim met?"], rows)
    return "\n\n".join([about, whole, *sections]) + "\n"
