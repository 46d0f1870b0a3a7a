"""What is wrong with a plan file, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

FieldPath: TypeAlias = tuple[str | int, ...]
"""The way to a field from the top of the file: ``("stages", 1, "soak")``."""


@dataclass(frozen=True)
class PlanIssue:
    """One mistake.

    :param file: the file, as it was named
    :param line: counted from 1
    :param field: such as ``stages[1].soak``; empty for the file as a whole
    :param problem: what is wrong with it
    """

    file: str
    line: int
    field: str
    problem: str

    @property
    def sentence(self) -> str:
        """The field and what is wrong with it, in one line."""
        problem = " ".join(self.problem.split())  # what an import raised may have several
        return f"{self.field}: {problem}" if self.field else problem

    def __str__(self) -> str:
        """In the form that editors and CI systems make a link of: ``rollouts/checkout.yaml:7: stages: is missing``."""
        return f"{self.file}:{self.line}: {self.sentence}"


class PlanFileError(ValueError):
    """A file that is no plan. ``mistakes`` are all that were found, by line."""

    def __init__(self, mistakes: Sequence[PlanIssue]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda one: one.line))
        super().__init__("\n".join(map(str, self.mistakes)))

    def __reduce__(self) -> tuple[type[PlanFileError], tuple[tuple[PlanIssue, ...]]]:
        return type(self), (self.mistakes,)


class PlanFileWarning(UserWarning):
    """A mistake in a plan file, as the DAG file that reads its folder tells Airflow: the other files are loaded."""


def named(path: FieldPath) -> str:
    """The path as a person writes it: ``stages[1].soak``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
