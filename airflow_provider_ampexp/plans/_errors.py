"""The mistakes of a plan file, with their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

FieldPath: TypeAlias = tuple[str | int, ...]
"""The path to a field from the top of the file: ``("stages", 1, "soak")``."""


@dataclass(frozen=True)
class PlanIssue:
    """A mistake.

    :param file: the file, as named by the caller
    :param line: counted from 1
    :param field: such as ``stages[1].soak``; empty for the file as a whole
    :param problem: the problem
    """

    file: str
    line: int
    field: str
    problem: str

    @property
    def sentence(self) -> str:
        """The field and its problem, in one line."""
        problem = " ".join(self.problem.split())  # an exception of an import may have several lines
        return f"{self.field}: {problem}" if self.field else problem

    def __str__(self) -> str:
        """Return a line that editors and CI systems link: ``rollouts/checkout.yaml:7: stages: is missing``."""
        return f"{self.file}:{self.line}: {self.sentence}"


class PlanFileError(ValueError):
    """An invalid plan file. ``mistakes`` has all mistakes by line."""

    def __init__(self, mistakes: Sequence[PlanIssue]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: mistake.line))
        super().__init__("\n".join(map(str, self.mistakes)))

    def __reduce__(self) -> tuple[type[PlanFileError], tuple[tuple[PlanIssue, ...]]]:
        return type(self), (self.mistakes,)


class PlanFileWarning(UserWarning):
    """A mistake in a plan file, as a DAG import warning. The other files are loaded."""


def named(path: FieldPath) -> str:
    """Format a path for a person: ``stages[1].soak``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
