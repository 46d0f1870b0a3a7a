"""The words that a reader whose first language is not English stumbles over stand nowhere in code, docs or examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path
    for pattern in (
        "airflow_provider_ampexp/**/*.py",
        "docs/**/*.md",
        "example_dags/**/*.py",
        "README.md",
        "CONTRIBUTING.md",
    )
    for path in ROOT.glob(pattern)
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
