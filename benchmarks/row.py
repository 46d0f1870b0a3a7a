"""The rows of the table, and the page of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MARKS = {True: "met", False: "**falls short**", None: "not measured"}


@dataclass(frozen=True)
class Row:
    """A measure with its aim.

    :param beside: the alternative
    :param met: whether the measure reached the aim; ``None`` if it has no result to compare
    """

    measure: str
    beside: str
    aim: str
    measured: str
    met: bool | None


@dataclass
class Part:
    """The results of one module: rows, and notes, such as the method and the growth of the cost."""

    title: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)


def not_measured(measure: str, beside: str, aim: str, why: str) -> Row:
    """Return a row without a result, with the reason."""
    return Row(measure, beside, aim, f"not measured: {why}", None)


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    cells = [list(head), ["---"] * len(head), *([str(cell) for cell in line] for line in lines)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)


def page(parts: Sequence[Part], about: str) -> str:
    """Return the page with all results, in Markdown."""
    rows = [(row.measure, row.beside, row.aim, row.measured, MARKS[row.met]) for part in parts for row in part.rows]
    sections = [f"## {part.title}\n\n" + "\n\n".join(part.notes) for part in parts if part.notes]
    whole = table(["measure", "beside", "aim", "measured", "aim met?"], rows)
    return "\n\n".join([about, whole, *sections]) + "\n"
