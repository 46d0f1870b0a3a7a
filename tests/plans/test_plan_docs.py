"""The examples and tables of ``docs/plans.md`` are correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_ampexp.plans._cli import main
from airflow_provider_ampexp.plans._loader import read_plan
from airflow_provider_ampexp.plans._models import PlanFile

DOC = (Path(__file__).parents[2] / "docs" / "plans.md").read_text()

WRONG = """\
# yaml-language-server: $schema=rollout-plan.schema.json
flag: new-checkout
stages: [1, 50, 25, 100]
soka: 12h
soak: 12h

window:
  days: Mon-Thr
  start: 09:00
  end: 16:00
  timezone: Europe/Berlin

guardrails:
  - kind: sql
    name: checkout errors
    conn_id: warehouse
    sql: select avg(failed) from checkouts
    no_data: hold
"""


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", DOC, re.DOTALL | re.MULTILINE)
    return [text for its_language, text in found if its_language == language]


def test_the_files_are_right(tmp_path: Path) -> None:
    whole, least, release, modeline = blocks("yaml")
    for text in (whole, least, release):
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        plan = read_plan(path).plan
        assert plan.stages
    assert modeline.strip() in whole


def test_the_mistakes_are_those_that_check_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "new-checkout.yaml").write_text(WRONG)
    (tmp_path / "rollouts" / "search-ranking.yaml").write_text(blocks("yaml")[1])
    assert main(["check", "rollouts/"]) == 1
    shown = next(block for block in blocks("") if "plans check" in block)
    assert shown.partition("\n")[2] == capsys.readouterr().out


def test_every_field_is_in_the_table() -> None:
    table = DOC.partition("## The fields")[2].partition("\n\nA length")[0]
    named = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1] if "|" in line else "")
    }
    assert named == set(PlanFile.model_fields)
