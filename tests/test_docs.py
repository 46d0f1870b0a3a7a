"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])


def test_every_test_and_invariant_of_the_failure_model_exists() -> None:
    page = (ROOT / "docs" / "failure-model.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("**/*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert {name for name in named if f"def {name}(" not in tests} == set()
    invariants = (ROOT / "tools" / "invariants.py").read_text()
    named = {name for row in re.findall(r"invariants? ((?:`\w+`(?:, )?)+)", page) for name in re.findall(r"\w+", row)}
    assert {name for name in named if f"def {name}(" not in invariants} == set()
    assert len(named) > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
