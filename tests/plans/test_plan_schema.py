"""The JSON Schema is up to date, and an editor that uses it finds the same wrong kinds and names as ``check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from airflow_provider_ampexp.plans._cli import main
from airflow_provider_ampexp.plans._json_schema import plan_schema, schema_text
from airflow_provider_ampexp.plans._yaml import YamlDocument

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "rollout-plan.schema.json"
GOOD = "flag: a\nstages: [1, {percentage: 5, soak: 1h}, 100]\nsoak: 1d 12h\n"


def errors(text: str) -> list[Any]:
    return list(jsonschema.Draft7Validator(plan_schema()).iter_errors(YamlDocument(text.encode()).value))


def test_the_one_in_docs_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert SCHEMA.read_text() == schema_text(), (
        "python -m airflow_provider_ampexp.plans schema > docs/rollout-plan.schema.json"
    )
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == SCHEMA.read_text()


def test_it_is_a_schema_in_which_every_field_is_explained() -> None:
    schema = plan_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    parts = [schema, *schema["$defs"].values()]
    unexplained = [
        name
        for part in parts
        for name, property_schema in part["properties"].items()
        if "description" not in property_schema
    ]
    assert set(unexplained) <= {"kind"}
    assert all(part["additionalProperties"] is False for part in parts)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "example_dags" / "rollouts").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_examples_are_right_and_name_it(path: Path) -> None:
    text = path.read_text()
    assert errors(text) == []
    (first, *_) = text.splitlines()
    relative = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / relative).resolve() == SCHEMA


@pytest.mark.parametrize(
    ("more", "is_right"),
    [
        ("", True),
        ("schedule: null\nwindow:\n", True),
        ("window: {days: [Mon, Tue], start: 09:00, end: 16:00, timezone: UTC, except_dates: [2026-12-24]}", True),
        ("guardrails: [{kind: callable, function: 'a.b:c', dry_run: true}]", True),
        ("rollback: off", True),
        ("rollback: 5", True),
        ("project_id: 217854", True),
        ("start_date: 2026-03-02T09:00+01:00", True),
        ("rollback: up", False),
        ("rollback: 101", False),
        ("sok: 1h", False),
        ("check_every: 15", False),
        ("check_every: often", False),
        ("experiment: b", False),
        ("window: {days: Mon, start: 09:00, end: 16:00}", False),
        ("guardrails: [{kind: sql, name: a, conn_id: w, sql: x}]", False),
        ("guardrails: [{kind: nix}]", False),
        ("guardrails: [{kind: callable, function: c}]", False),
        ("start_date: tomorrow", False),
        ("enable: yes", False),
    ],
)
def test_it_sees_what_check_sees(more: str, is_right: bool) -> None:
    assert (errors(f"{GOOD}{more}\n") == []) is is_right


def test_it_is_json_as_a_file_should_be() -> None:
    assert json.loads(SCHEMA.read_text()) == plan_schema()
    assert SCHEMA.read_text().endswith("}\n")
