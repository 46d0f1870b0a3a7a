"""A ramp notices changes of the audience, and reports a rollback as confirmed only if it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_runs import Run
from ramps import PLAN, RETRIED, Failures, Soaks, flag, told, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]
PRO = [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}]


def segment(name: str, percentage: int, conditions: Any = PRO) -> dict[str, Any]:
    return {
        "name": name,
        "conditions": conditions,
        "percentage": percentage,
        "rolloutWeights": {"on": 1},
        "bucketingKey": "user_id",
    }


def beta_at(percentage: int) -> dict[str, Any]:
    return {"targetSegments": [segment("Beta", percentage)]}


EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "conditions": (
        {"targetSegments": [segment("Beta", 1, [])]},
        "the conditions of segment 'Beta' were removed, so it captures all users, by Maria at ",
    ),
    "catch-all": (
        {"targetSegments": [segment("All", 100, []), segment("Beta", 1)]},
        "a segment 'All' was added before segment 'Beta', which captures all users, by Maria at ",
    ),
    "others": (
        {"rolloutPercentage": 100},
        "the percentage of all other users was raised from 0 % to 100 %, by Maria at ",
    ),
    "salt": ({"bucketingSalt": "pepper"}, "the salt was changed from "),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("deferrable", [True, False])
def test_who_changes_the_audience_during_a_soak_stops_the_rollout_at_once_and_is_named(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    deferrable: bool,
) -> None:
    fields, words = EDITS[name]
    flag_id = flag(emulator, enabled=True, **beta_at(1))

    def maria() -> None:
        emulator.edit("flags", flag_id, by="Maria", **fields)

    if deferrable:
        soaks.will(maria)
    else:
        sleeps: list[float] = []
        monkeypatch.setattr(
            "airflow_provider_ampexp.operators._rollout.waiting.time.sleep", lambda s: (sleeps.append(s), maria())
        )
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            segment="Beta",
            deferrable=deferrable,
            **RETRIED,
            **broken.callback,
            **PLAN,
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert writes(emulator) == 0
    assert words in broken.said("ramp")
    assert "left the flag as it is, at 1 %" in broken.said("ramp")
    assert ran.xcom("ramp", key=RECORD_XCOM)[-1]["cause"] == "drift"


def test_adopted_a_change_of_the_audience_is_told_in_log_and_record(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator, enabled=True, **beta_at(1))
    lines = told(monkeypatch)
    soaks.will(lambda: emulator.edit("flags", flag_id, by="Maria", rolloutPercentage=10))
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", on_drift="adopt", **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    words = "the percentage of all other users was raised from 0 % to 10 %, by Maria at "
    assert len([line for line in lines if words in line]) == 1
    notes = [line["why"] for line in ran.xcom("ramp", key=RECORD_XCOM) if line["what"] == "note"]
    assert [words in note for note in notes] == [True]
    assert len(soaks.watches) == 3  # Maria's change ends only one wait early


def test_lowering_another_segment_takes_users_out_and_does_not_stop_the_rollout(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    staff = segment("Staff", 50)
    flag_id = flag(emulator, enabled=True, targetSegments=[staff, segment("Beta", 1)])
    lower = {"targetSegments": [segment("Staff", 10), segment("Beta", 1)], "description": "less staff"}
    soaks.will(lambda: emulator.edit("flags", flag_id, by="Maria", **lower))
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    shares = {segment["name"]: segment["percentage"] for segment in emulator.flag(flag_id)["targetSegments"]}
    assert shares == {"Staff": 10, "Beta": 100}


def test_a_rollback_says_through_what_users_still_get_the_feature(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(
        emulator, enabled=True, rolloutPercentage=40, targetSegments=[segment("Beta", 0), segment("Paid", 100)]
    )
    broken = Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            segment="Beta",
            guardrails=[lambda moment: False],
            **broken.callback,
            **PLAN,
        )
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert emulator.flag(flag_id)["targetSegments"][0]["percentage"] == 0
    assert "confirmed" not in broken.said("ramp")
    through = ["segment 'Paid' at 100 %", "the percentage of all other users, 40 %"]
    words = f"but USERS STILL GET IT through {through[0]}, and {through[1]}"
    assert f"from 1 % to 0 %, and read that back; {words}" in broken.said("ramp")
    assert ran.xcom("ramp", key=RECORD_XCOM)[-1]["still_through"] == through


def test_a_rollback_that_disables_the_flag_does_so_also_where_its_segments_cannot_be_sent_back(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator, enabled=True, **beta_at(0))

    def maria_adds_everybody(moment: Any) -> bool:
        if moment.is_preflight:
            return True
        everybody = [segment("All", 100, []), segment("Beta", 1)]
        emulator.edit("flags", flag_id, by="Maria", targetSegments=everybody)
        return False

    broken = Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            segment="Beta",
            rollback="off",
            guardrails=[maria_adds_everybody],
            **broken.callback,
            **PLAN,
        )
    run(dag)

    assert emulator.flag(flag_id)["enabled"] is False
    assert "and confirmed it by reading" in broken.said("ramp")


def test_the_rollback_task_of_a_group_says_it_too(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag(emulator, enabled=True, targetSegments=[segment("Beta", 0), segment("Paid", 100)])
    lines = told(monkeypatch)
    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", segment="Beta", guardrails=[lambda moment: False], **PLAN)
    run(dag)

    line = next(line for line in lines if "this run has already rolled it back" in line)
    assert "but USERS STILL GET IT through segment 'Paid' at 100 %" in line
    assert "confirmed" not in line


def experiment(emulator: Emulator, **fields: Any) -> str:
    made = {"enabled": True, "rolloutPercentage": 0, "deployments": ["1"], **fields}
    return str(emulator.create_experiment("search", **made)["id"])


def test_a_sticky_experiment_is_refused_at_the_start(run: Runner, emulator: Emulator, dag_id: str) -> None:
    experiment(emulator, stickyBucketing=True)
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", experiment_key="search", **RETRIED, **broken.callback, **PLAN)
        staged_rollout(experiment_key="search", **PLAN)
    ran = run(dag)

    assert ran.states["ramp"] == "failed"
    assert ran.states["rollout.stage_1"] == "failed"
    assert ran.tries["ramp"] == 1
    assert writes(emulator) == 0
    assert "sticky bucketing is on" in broken.said("ramp")
    assert "Set rollback='off' (or 'hold'), or set sticky='switch_off'" in broken.said("ramp")


def test_sticky_bucketing_is_switched_off_before_the_first_stage_where_the_task_says_so(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    experiment_id = experiment(emulator, stickyBucketing=True)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", experiment_key="search", sticky="{{ 'switch_off' }}", **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    versions = [version["flagConfig"] for version in reversed(emulator.versions("experiments", experiment_id))]
    assert [(version["stickyBucketing"], version["rolloutPercentage"]) for version in versions] == [
        (True, 0),
        (False, 0),
        (False, 1),
        (False, 25),
        (False, 100),
    ]
    assert [line["what"] for line in ran.xcom("ramp", key=RECORD_XCOM)][:2] == ["sticky", "raise"]


def test_with_a_rollback_that_disables_it_a_sticky_experiment_is_rolled_out_and_back(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    experiment_id = experiment(emulator, stickyBucketing=True)
    broken = Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            experiment_key="search",
            rollback="off",
            guardrails=[lambda moment: False],
            **broken.callback,
            **PLAN,
        )
    run(dag)

    assert emulator.experiment(experiment_id)["enabled"] is False
    assert "from 1 % to 0 % (disabled), and confirmed it by reading" in broken.said("ramp")


def test_an_experiment_that_was_decided_against_is_not_rolled_out_unless_the_task_says_so(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    experiment_id = experiment(emulator, decision="rollback", state="decision-made")
    broken = Failures()
    emulator.clear_requests()
    with DAG(dag_id) as dag:
        refused = AmplitudeRampRolloutOperator(task_id="ramp", experiment_key="search", **broken.callback, **PLAN)
        told_to = AmplitudeRampRolloutOperator(
            task_id="told", experiment_key="search", decided="ignore", trigger_rule="all_done", **PLAN
        )
        refused >> told_to
    ran = run(dag)

    assert ran.states == {"ramp": "failed", "told": "success"}
    assert "the experiment was decided: rollback" in broken.said("ramp")
    assert emulator.experiment(experiment_id)["rolloutPercentage"] == 100


def test_what_keeps_users_out_is_warned_of_at_the_start_in_log_and_record(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = flag(emulator, "off")
    archived = flag(emulator, "archived", deleted=True, enabled=True, rolloutPercentage=100)
    at_zero = flag(emulator, "zero", enabled=True)
    serves = flag(emulator, "serves", enabled=True, rolloutPercentage=100)
    parents = {"flags": {parent: ["on"] for parent in (off, archived, at_zero, serves, "999")}, "operator": "all"}
    flag(emulator, deployments=[], rolloutWeights={"on": 0}, parentDependencies=parents)
    lines = told(monkeypatch)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    record = ran.xcom("ramp", key=RECORD_XCOM)
    warnings = [line["why"] for line in record if line["what"] == "warning"]
    assert [line["what"] for line in record][: len(warnings)] == ["warning"] * len(warnings)
    assert warnings[:5] == [
        "it is enabled in no deployment, so nobody gets it.",
        "all its weights are 0, so nobody gets a variant.",
        "it depends on flag 'off' (variant 'on'), which is disabled.",
        "it depends on flag 'archived' (variant 'on'), which is archived.",
        "it depends on flag 'zero' (variant 'on'), which is at 0 %.",
    ]
    assert len(warnings) == 6
    assert warnings[5] == "it depends on 999 (variant 'on'), which is no flag or experiment: it may be a group."
    assert all(any(why in line for line in lines) for why in warnings)
