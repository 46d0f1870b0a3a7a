"""Ask all questions, and report the differences between the service and the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import requests

from airflow_provider_ampexp.conformance._questions import QUESTIONS, Question
from airflow_provider_ampexp.conformance._scratch import ForeignObjectError, Scratch, ScratchObject


@dataclass(frozen=True)
class Answer:
    """The service's answer to a question."""

    question: Question
    answer: str

    @property
    def differs(self) -> bool:
        """True if the emulator gives another answer."""
        return self.answer != self.question.expected

    def row(self) -> str:
        """Return the row of a Markdown table."""
        cells = (self.question.name, self.answer, self.question.expected, self.question.source)
        return f"| {' | '.join(map(_cell, cells))} |"


@dataclass(frozen=True)
class Report:
    """The answers, and the objects that the service did not archive."""

    answers: tuple[Answer, ...]
    left: tuple[ScratchObject, ...]

    @property
    def differences(self) -> tuple[Answer, ...]:
        """The answers that differ from the emulator's."""
        return tuple(answer for answer in self.answers if answer.differs)

    def text(self) -> str:
        """Return the report for an issue. It has no key, and no id of an object that another person made."""
        lines = [f"{len(self.answers)} questions, {len(self.differences)} differences.", ""]
        if self.differences:
            lines += [
                "| question | the service | the emulator | source of the emulator's answer |",
                "| --- | --- | --- | --- |",
            ]
            lines += [difference.row() for difference in self.differences]
        lines += [f"Not archived: {made.kind} {made.id} ({made.key}). Archive it in Amplitude." for made in self.left]
        return "\n".join(lines) + "\n"


def ask_all(
    scratch: Scratch, questions: Iterable[Question] = QUESTIONS, progress: Callable[[str], None] = lambda line: None
) -> Report:
    """Ask all questions, and archive the objects of this run, also after an error."""
    answers: list[Answer] = []
    left: list[ScratchObject] = []
    try:
        for question in questions:
            answers.append(Answer(question, _answer(question, scratch)))
            progress(f"{'differs' if answers[-1].differs else 'same':8} {question.name}: {answers[-1].answer}")
    finally:
        left = scratch.archive_all()
    return Report(tuple(answers), tuple(left))


def _answer(question: Question, scratch: Scratch) -> str:
    try:
        return question.ask(scratch)
    except ForeignObjectError:
        raise
    except requests.RequestException as error:
        return f"no response ({type(error).__name__})"
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # a body of another shape
        return f"another shape ({type(error).__name__}: {str(error)[:120]})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
