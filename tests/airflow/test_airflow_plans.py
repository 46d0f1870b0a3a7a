"""A plan file is read, becomes a DAG, and runs in Airflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from airflow.sdk import DAG
from airflow_runs import Run

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.guardrails import CheckContext
from airflow_provider_ampexp.plans import rollout_dags

PLAN = """
flag: checkout
dag_id: {dag_id}
stages:
  - percentage: 5
    soak: 1s
  - 50
  - 100
soak: 0s
guardrails:
  - kind: callable
    function: {function}
rollback: off
"""


def is_small(moment: CheckContext) -> bool:
    """Fail at the second stage. A plan file names this check."""
    return moment.percentage < 50


def stages(emulator: Emulator, flag_id: str) -> list[tuple[int, bool]]:
    """Return the percentage of each version and whether it is enabled, oldest first."""
    versions = reversed(emulator.versions("flags", flag_id))
    return [(version["flagConfig"]["rolloutPercentage"], version["flagConfig"]["enabled"]) for version in versions]


def test_a_file_is_carried_out(run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, tmp_path: Path) -> None:
    flag = emulator.create_flag("checkout", variants=[{"key": "on"}], enabled=False, rolloutPercentage=0)
    (tmp_path / "checkout.yaml").write_text(PLAN.format(dag_id=dag_id, function="operator:truth"))
    ran = run(rollout_dags(tmp_path)[dag_id])
    assert ran.states == {
        "rollout.stage_5": "success",
        "rollout.stage_50": "success",
        "rollout.stage_100": "success",
        "rollout.rollback": "skipped",
    }
    assert stages(emulator, flag["id"]) == [(0, False), (5, True), (50, True), (100, True)]


def test_and_rolled_back_to_where_it_says(
    run: Callable[[DAG], Run], emulator: Emulator, dag_id: str, tmp_path: Path
) -> None:
    flag = emulator.create_flag("checkout", variants=[{"key": "on"}], enabled=False, rolloutPercentage=0)
    (tmp_path / "checkout.yaml").write_text(PLAN.format(dag_id=dag_id, function=f"{__name__}:is_small"))
    ran = run(rollout_dags(tmp_path)[dag_id])
    assert not ran.succeeded
    assert ran.states["rollout.stage_50"] == "failed"
    assert ran.states["rollout.stage_100"] == "upstream_failed"
    assert stages(emulator, flag["id"]) == [(0, False), (5, True), (50, True), (0, False)]
