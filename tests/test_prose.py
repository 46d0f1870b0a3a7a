"""Code, docs and examples have no words that are hard for a reader whose first language is not English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path
    for pattern in (
        "airflow_provider_ampexp/**/*.py",
        "airflow_provider_ampexp/ui/static/*.html",
        "airflow_provider_ampexp/ui/static/*.js",
        "docs/**/*.md",
        "example_dags/**/*.py",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    )
    for path in ROOT.glob(pattern)
    if path.name != "uplot.js"
)
INSTEAD = {
    r"mend(s|ed|ing)?": "fix",
    r"anew": "again, from the beginning",
    r"whoever": "name the person",
    r"whatever": "name the thing",
    r"be it": "also if it is",
    r"at the very": "at the",
    r"nobody can tell": "it is not known",
    r"(less|more) than nothing": "negative, greater than zero",
    r"likewise": "the same",
    r"or else": "otherwise",
    r"as ever": "as usual",
    r"save (where|for|on|the|that|those|its|from|they|with)": "except",
    r"(is|are) wanted, not": "expected X, got Y",
    r"over the head|another one's head": "before its predecessor",
    r"com(e|es) about": "happen",
    r"rooms?": "package",
}


# The packages whose whole text is in plain words, and the pages.
PACKAGE = "airflow_provider_ampexp"
PACKAGES = (
    "bucketing client emulator ensure guardrails history hooks links listeners operators plans polling reconcile "
    "rollout sensors task_groups triggers ui watchdog"
)
PAGES = [path for path in FILES if path.suffix == ".md"]
PLAIN = [*PAGES, *(path for name in PACKAGES.split() for path in FILES if (ROOT / PACKAGE / name) in path.parents)]
INSTEAD_IN_PLAIN_TEXT = {
    r'(somebody|anybody)(?!"$)': "name the person: a user, a person, another actor",
    r"nobody (knows|else|would get|is)": "name the subject",
    r"(is|was|are|were) told": "reports, logs",
    r", since (?!\w+:)": "because",
    r"(switch(es|ed)?|switching) (it )?(on|off)": "enable, disable",
    r"(taken|takes|took|goes|go) back": "roll back",
    r"asked on": "keeps running",
    r"was to be|were to be": "<action> failed: <cause>",
    r"accepted that": "accepted the change",
    r"it is so|is so already": "name the state",
    r"for ever": "no limit",
    r"somebody else|by lot|in earnest|as a rule|besides|meanwhile": "say the thing",
    r"blotted out": "removed",
    r"at the moment at which": "while",
    r"put it back|puts it back": "restore",
    r"when it wants": "when it needs",
    r"stands? at": "is at",
    r"looks? (at|for) (it|them)|two looks": "a poll, a read",
    r"is told": "is called with, gets",
    r"(looked|looks) again": "polls again",
    r"spoilt|misbehave": "fault",
    r"the wire|the door": "name the thing",
    r"put back|puts back": "restored",
    r"c[ao]mes? over": "overwrites",
    r"(goes|go|went) on": "continue",
    r"(stands|stood) (at|on)": "is at, was at",
    r"takes? (it|the flag) (down|back)": "rolls back",
    r"by hand": "name the action, such as: marked as failed",
    r"besides those": "other users",
    r"everybody": "all users",
    r"(is|are|was|were) asked": "the guardrails run",
    r"two looks": "two observations, two polls",
}


@pytest.mark.parametrize("pattern", INSTEAD)
def test_a_plain_word_stands_in_place_of_an_odd_one(pattern: str) -> None:
    odd = re.compile(rf"\b({pattern})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: write {INSTEAD[pattern]!r}: {line.strip()[:100]}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if odd.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("pattern", INSTEAD_IN_PLAIN_TEXT)
def test_a_page_and_a_plain_package_name_the_actor_and_the_object(pattern: str) -> None:
    odd = re.compile(rf"\b({pattern})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: write {INSTEAD_IN_PLAIN_TEXT[pattern]!r}: {line.strip()[:100]}"
        for path in PLAIN
        for number, line in enumerate(without_code(path).splitlines(), 1)
        if odd.search(line)
    ]
    assert found == []


def without_code(path: Path) -> str:
    """Return the text of a page without its code, which may quote a message; a module unchanged."""
    text = path.read_text()
    if path.suffix != ".md":
        return text
    fenced = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "``", fenced)


def test_the_plain_text_is_there() -> None:
    assert len(PAGES) > 25
    assert {path.relative_to(ROOT).parts[1] for path in PLAIN if path.suffix == ".py"} == set(PACKAGES.split())
