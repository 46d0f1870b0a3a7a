"""The effects of actions in Airflow on a rollout, as sentences from the rules of the rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_ampexp.client.types import Version
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.ui._rollout_tasks import RolloutTask
from tests.page.samples import HOUR, MONDAY, NOW, PLAN, STATE, VERSIONS, detail, flag, task, version

SOAKED = MONDAY + 25 * HOUR
BACK = {"at": NOW.isoformat(), "what": "rollback", "from": 5, "to": 0, "enabled": False, "why": "errors (fail)"}
ROLLED_BACK = [*VERSIONS, version(4, NOW, **flag(0, False))]
FIRST = task(task_id="stage_1", state="success", rollout_state=None, plan=replace(PLAN, only=1), began=MONDAY - HOUR)
FIFTH = task(task_id="stage_5", plan=replace(PLAN, only=5))


def effects(*tasks: RolloutTask, versions: list[Version] = VERSIONS, now: Any = NOW) -> dict[str, str]:
    """Return the effect of each action."""
    actions = detail(*tasks, versions=versions, now=now)["rollout"]["manual_actions"]
    return {action["action"]: action["effect"] for action in actions}


def test_a_ramp_that_is_marked_rolls_nothing_back() -> None:
    told = effects(task())
    assert list(told) == ["Mark ramp as failed", "Mark ramp as success", "Clear ramp", "Pause the DAG"]
    keeps = "Users keep the feature at 5 %"
    assert told["Mark ramp as failed"] == (f"The task ends. {keeps}: nothing is rolled back, and no guardrail runs.")
    assert told["Mark ramp as success"] == (
        f"The task ends, and the tasks after it start. {keeps}: no further stage is set."
    )
    assert told["Pause the DAG"] == (
        f"Airflow does not resume the task. {keeps}: no guardrail runs, and nothing is rolled back."
    )


def test_a_cleared_ramp_keeps_its_soak() -> None:
    assert effects(task())["Clear ramp"] == (
        "The task starts again and waits at 5 %: the soak counts from 2026-03-02 22:00 UTC, when the percentage was "
        "set, and ends at 2026-03-03 10:00 UTC."
    )
    assert effects(task(until=SOAKED), now=SOAKED)["Clear ramp"] == "The task starts again and sets 25 %."
    often = task(plan=replace(PLAN, checked=True, check_every="1h"))
    assert effects(often)["Clear ramp"] == (
        "The task starts again and runs the guardrails before it continues from 5 %: the soak counts from "
        "2026-03-02 22:00 UTC, when the percentage was set, and ends at 2026-03-03 10:00 UTC."
    )
    checked = task(plan=replace(PLAN, checked=True), until=SOAKED)
    assert effects(checked, now=SOAKED)["Clear ramp"] == (
        "The task starts again and runs the guardrails before it continues from 5 %."
    )


def test_a_paused_dag_can_be_unpaused() -> None:
    told = effects(task(is_paused=True))
    assert "Pause the DAG" not in told
    assert told["Unpause the DAG"].startswith("The task reads the flag and continues.")


def test_a_segment_is_named() -> None:
    beta = [{"name": "Beta", "percentage": 5}]
    versions = [version(1, MONDAY + 12 * HOUR, **flag(0, targetSegments=beta))]
    told = effects(task(plan=replace(PLAN, segment="Beta")), versions=versions)
    assert "Users of segment Beta keep the feature at 5 %" in told["Mark ramp as failed"]


@pytest.mark.parametrize(
    ("rollback", "effect"),
    [
        ("start", "The rollback task lowers the flag from 5 % to 0 % (disabled) and reads that back."),
        ("previous", "The rollback task lowers the flag from 5 % to 1 % and reads that back."),
        ("off", "The rollback task lowers the flag from 5 % to 0 % (disabled) and reads that back."),
        (
            "hold",
            "The rollback task leaves the flag as it is: rollback='hold' leaves the flag where it is. "
            "Users keep the feature at 5 %.",
        ),
    ],
)
def test_a_stage_of_a_group_that_is_marked_as_failed_is_rolled_back_to_where_the_plan_says(
    rollback: str, effect: str
) -> None:
    first, fifth = (
        replace(plan_stage, plan=replace(plan_stage.plan, rollback=rollback)) for plan_stage in (FIRST, FIFTH)
    )
    assert effects(first, fifth)["Mark stage_5 as failed"] == effect


def test_a_stage_that_is_marked_as_failed_after_a_change_by_somebody_else_is_left() -> None:
    versions = [*VERSIONS, version(4, NOW, "Maria", **flag(7))]
    told = effects(FIRST, FIFTH, versions=versions, now=NOW + HOUR)["Mark stage_5 as failed"]
    assert told.startswith("The rollback task leaves the flag as it is: another actor changed it")
    assert "by Maria" in told


def test_a_stage_that_is_marked_as_success_is_promoted() -> None:
    assert effects(FIRST, FIFTH)["Mark stage_5 as success"] == (
        "The stage ends without the rest of its soak and its checks. The task of the next stage sets 25 %. "
        "An approval comes first if the group has one there."
    )
    last = task(task_id="stage_100", plan=replace(PLAN, only=100))
    assert effects(last)["Mark stage_100 as success"].endswith("It is the last stage, so the rollout is done.")


@pytest.mark.parametrize(
    ("on_reject", "effect"),
    [
        ("rollback", "The task lowers the flag from 5 % to 0 % (disabled), reads that back and fails."),
        ("hold", "Users keep the feature at 5 %. The stages that follow are skipped."),
    ],
)
def test_an_approval_tells_what_each_answer_does(on_reject: str, effect: str) -> None:
    plan = replace(PLAN, rollback="off", approval=ApprovalPolicy(25, on_reject=on_reject))
    asked = replace(STATE, asked_at=SOAKED)
    told = effects(FIRST, task(task_id="approve_25", plan=plan, rollout_state=asked, until=SOAKED + HOUR), now=SOAKED)
    assert told["Approve, or mark approve_25 as success"] == "The task of the stage 25 % sets 25 %."
    assert told["Reject"] == effect
    assert told["Mark approve_25 as failed"].startswith("The rollback task lowers the flag from 5 %")


def test_a_ramp_that_rolled_back_begins_with_its_first_stage_when_it_is_cleared() -> None:
    failed = task(state="failed", run_state="failed", rollout_state=None, record=(*STATE.record, BACK))
    told = effects(failed, versions=ROLLED_BACK, now=NOW + HOUR)
    assert told["Clear ramp"] == "The task starts again and sets 1 % and enables the flag."
    checked = replace(failed, plan=replace(PLAN, checked=True))
    assert effects(checked, versions=ROLLED_BACK, now=NOW + HOUR)["Clear ramp"] == (
        "The task starts again and runs the preflight of the guardrails, then sets 1 % and enables the flag."
    )
    assert told["Mark ramp as success"] == (
        "Only the state in Airflow changes. The flag stays at 0 % (disabled). "
        "Airflow starts the tasks after it that did not run."
    )


def test_a_group_that_rolled_back_is_cleared_as_a_whole() -> None:
    failed = replace(FIFTH, state="failed", rollout_state=None, run_state="failed", record=(BACK,))
    back = task(task_id="rollback", state="success", rollout_state=None, began=NOW, run_state="failed", record=())
    told = effects(FIRST, failed, back, versions=ROLLED_BACK, now=NOW + HOUR)
    assert told["Clear stage_5"].startswith("The task starts again and stops, and writes nothing: stage 1 % is not set")
    assert told["Clear the whole group"] == "The rollout starts again and sets 1 % and enables the flag."


def test_a_rollout_that_is_done_has_nothing_to_write() -> None:
    raised = {"at": NOW.isoformat(), "what": "raise", "from": 25, "to": 100}
    ended = task(state="success", run_state="success", rollout_state=None, record=(*STATE.record, raised))
    told = effects(ended, versions=[*VERSIONS, version(4, NOW, **flag(100))], now=NOW + HOUR)
    assert told["Clear ramp"] == "The task starts again and ends with success at once. It writes nothing."
    assert told["Mark ramp as failed"] == "Only the state in Airflow changes. Users keep the feature at 100 %."


def test_a_run_that_somebody_elses_change_stopped_does_not_overrule_it() -> None:
    stop = {"at": NOW.isoformat(), "what": "stop", "cause": "drift", "why": "Maria changed it from 5 % to 2 %"}
    ended = task(state="failed", run_state="failed", rollout_state=None, record=(*STATE.record, stop))
    versions = [*VERSIONS, version(4, NOW, "Maria", **flag(2))]
    told = effects(ended, versions=versions, now=NOW + HOUR)["Clear ramp"]
    assert "First it fails if the change that stopped it is still the newest" in told
    assert "First it fails" not in effects(replace(ended, run_state="running"), versions=versions)["Clear ramp"]


def test_a_flag_that_amplitude_does_not_show_has_no_actions() -> None:
    assert effects(task(), versions=[]) == {}
