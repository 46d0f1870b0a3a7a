"""Files, modules, names and messages in the documentation exist."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_ampexp.rollout._record import RecordLine
from airflow_provider_ampexp.rollout._vocabulary import RecordKind
from tools import rollout_picture

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])


def test_every_test_and_invariant_of_the_failure_model_exists() -> None:
    page = (ROOT / "docs" / "failure-model.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("**/*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert {name for name in named if f"def {name}(" not in tests} == set()
    invariants = (ROOT / "tests" / "invariants" / "__init__.py").read_text()
    named = {name for row in re.findall(r"invariants? ((?:`\w+`(?:, )?)+)", page) for name in re.findall(r"\w+", row)}
    assert {name for name in named if f"def {name}(" not in invariants} == set()
    assert len(named) > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_parses_and_imports_what_is_there(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("airflow_provider_ampexp"):
                module = importlib.import_module(str(node.module))
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_the_runbook_quotes_what_the_code_says() -> None:
    said = "\n".join(_texts(ROOT / "airflow_provider_ampexp"))
    quotes = re.findall(r"^```text\n(.*?)^```$", (ROOT / "docs" / "runbook.md").read_text(), re.DOTALL | re.MULTILINE)
    parts = [
        part
        for quote in quotes
        for part in re.split(r"\s*(?:…|\band |[.,:;()] |[.:]$)\s*", quote.strip())
        if len(part) > 6
    ]
    assert len(parts) > 20
    assert [part for part in parts if part not in said] == [], "docs/runbook.md quotes words that no code says"


def test_the_page_of_the_record_has_each_field_and_each_kind_of_line() -> None:
    page = (ROOT / "docs" / "record.md").read_text()
    fields, whats = (
        {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
        for table in page.split("## What an attempt")[0].split("The type is")
    )
    assert fields == set(RecordLine.__annotations__)
    assert whats - {"what"} == set(RecordKind)


def _texts(package: Path) -> Iterator[str]:
    """Yield all texts of the code, with a gap for each inserted value."""
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else " … " for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_example_dag_is_on_the_page_of_examples() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    there = {path.name for path in (ROOT / "example_dags").glob("*.py")}
    assert set(re.findall(r'"example_dags/(\w+\.py)"', page)) == there


def test_every_picture_is_on_a_page() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    assert [path.name for path in (ROOT / "docs" / "images").iterdir() if f"images/{path.name}" not in pages] == []


def test_the_picture_of_a_rollout_is_what_the_rule_decides() -> None:
    assert rollout_picture.PICTURE.read_text() == rollout_picture.draw(), "run `python -m tools.rollout_picture`"
