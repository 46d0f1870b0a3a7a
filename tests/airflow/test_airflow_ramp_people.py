"""Changes of the flag by persons during a rollout: their changes win, and are distinguished from the rollout's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow_runs import Run
from ramps import PLAN, RETRIED, Failures, Soaks, began, exposures, flag, history, told, writes

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.operators._rollout.stop import NEXT_STEP
from airflow_provider_ampexp.rollout._vocabulary import AbortCause

Runner = Callable[..., Run]


def test_who_changes_the_flag_meanwhile_stops_the_rollout_and_is_named(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    edits: dict[str, dict[str, Any]] = {
        "raised": {"rolloutPercentage": 50},
        "lowered": {"rolloutPercentage": 10},
        "disabled": {"enabled": False},
        "archived": {"archive": True},
    }
    ids = {key: flag(emulator, key, enabled=True, rolloutPercentage=25) for key in edits}
    broken = Failures()
    with DAG(dag_id, default_args={**RETRIED, "trigger_rule": "all_done", **broken.callback}) as dag:
        chain(*[AmplitudeRampRolloutOperator(task_id=key, flag_key=key, **PLAN) for key in edits])
    for key, fields in edits.items():
        soaks.will(lambda key=key, fields=fields: emulator.edit("flags", ids[key], by="Maria", **fields))
    emulator.clear_requests()
    ran = run(dag)

    assert ran.states == dict.fromkeys(edits, "failed")
    assert ran.tries == dict.fromkeys(edits, 1)
    assert writes(emulator) == 0
    causes = {key: ran.xcom(key, key=RECORD_XCOM)[-1]["cause"] for key in edits}
    assert causes == {"raised": "drift", "lowered": "drift", "disabled": "disabled", "archived": "archived"}
    after = {"raised": "50 %", "lowered": "10 %", "disabled": "25 % (disabled)"}
    for key, shown in after.items():
        when = f"{began(emulator, ids[key])[-1]:%Y-%m-%d %H:%M:%SZ}"
        assert f"the flag was changed from 25 % to {shown} by Maria at {when}" in broken.said(key)
        assert f"left the flag as it is, at {shown}:" in broken.said(key)
        assert "start a new run" in broken.said(key)
    assert "enable the flag in Amplitude, then start a new run" in broken.said("disabled")
    assert "Restore the flag in Amplitude, then start a new run" in broken.said("archived")


def test_there_and_back_between_two_looks_is_a_change_too(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator, enabled=True, rolloutPercentage=25)

    def there_and_back() -> None:
        emulator.edit("flags", flag_id, rolloutPercentage=90)
        emulator.edit("flags", flag_id, rolloutPercentage=25)
        soaks.end()

    soaks.will(None, there_and_back)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **{**PLAN, "stages": [25, 50, 100]})
    ran = run(dag)

    assert exposures(emulator, flag_id)[:2] == [25, 50]
    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [25, 50, 90, 25]


def test_adopted_it_goes_on_from_where_they_left_it(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    edits: dict[str, dict[str, Any]] = {
        "raised": {"rolloutPercentage": 50},
        "to_a_stage": {"rolloutPercentage": 75},
        "lowered": {"rolloutPercentage": 10},
        "disabled": {"enabled": False},
    }
    ids = {key: flag(emulator, key) for key in edits}
    plan: dict[str, Any] = {**PLAN, "stages": [25, 75, 100], "on_drift": "adopt"}
    with DAG(dag_id, default_args={"trigger_rule": "all_done"}) as dag:
        chain(*[AmplitudeRampRolloutOperator(task_id=key, flag_key=key, **plan) for key in edits])

    def maria(key: str) -> Callable[[], None]:
        return lambda: emulator.edit("flags", ids[key], **edits[key])

    soaks.will(maria("raised"), None, None)  # 50 % is between two stages, and soaks like a stage before 75 % is set
    soaks.will(maria("to_a_stage"), None)  # 75 % soaks in full from Maria's change on
    soaks.will(maria("lowered"), None, None)
    soaks.will(maria("disabled"))
    ran = run(dag)

    assert ran.states == {"raised": "success", "to_a_stage": "success", "lowered": "success", "disabled": "failed"}
    assert {key: exposures(emulator, object_id) for key, object_id in ids.items()} == {
        "raised": [0, 25, 50, 75, 100],
        "to_a_stage": [0, 25, 75, 100],
        "lowered": [0, 25, 10, 25, 75, 100],
        "disabled": [0, 25, 0],
    }
    her_75 = began(emulator, ids["to_a_stage"])[2]
    (soak,) = [watch for watch in soaks.watches if watch["id"] == ids["to_a_stage"] and watch["percentage"] == 75]
    assert soak["until"] == soaks.hours_after(her_75, 1)


def test_a_tag_holds_it_and_lets_it_go(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator)
    looked: list[Any] = []

    def tags(*names: str) -> Callable[[], None]:
        return lambda: emulator.edit("flags", flag_id, by="Maria", tags=list(names))

    def while_held() -> None:
        looked.append(exposures(emulator, flag_id)[-1])
        soaks.end()

    # The tag is set during the soak; the soak ends; half a day passes; the tag is removed.
    soaks.will(tags("rollout-hold", "beta"), None, while_held, tags("beta"))
    asked: list[float] = []

    def check(moment: Any) -> bool:
        if not moment.is_preflight:
            asked.append(moment.percentage)
        return True

    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", guardrails=[check], **PLAN)
    ran = run(dag)

    assert ran.succeeded
    assert looked == [1]
    assert [watch["is_held"] for watch in soaks.watches] == [False, True, True, True, False]
    assert history(emulator, flag_id) == [
        (0, "Seed"),
        (1, "Airflow"),
        (1, "Maria"),
        (1, "Maria"),
        (25, "Airflow"),
        (100, "Airflow"),
    ]
    assert asked == [1, 1, 25]  # guardrails continue during the hold


def segments(**percentages: int) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
            "percentage": percentage,
            "rolloutWeights": {"on": 1},
            "bucketingKey": "user_id",
        }
        for name, percentage in percentages.items()
    ]


def test_other_segments_edited_at_the_moment_of_a_raise_are_put_back(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag_id = flag(emulator, enabled=True, targetSegments=segments(Staff=50, Beta=1))
    lines = told(monkeypatch)

    def maria_is_quick() -> None:
        emulator.edit_before_write("flags", flag_id, by="Maria", targetSegments=segments(Staff=80, Beta=1, New=3))
        soaks.end()

    soaks.will(maria_is_quick)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", on_drift="adopt", **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    seen = [
        {segment["name"]: segment["percentage"] for segment in version["flagConfig"]["targetSegments"]}
        for version in reversed(emulator.versions("flags", flag_id))
    ]
    assert seen == [
        {"Staff": 50, "Beta": 1},
        {"Staff": 80, "Beta": 1, "New": 3},  # hers
        {"Staff": 50, "Beta": 25},  # overwritten by the raise
        {"Staff": 80, "Beta": 25, "New": 3},  # restored
        {"Staff": 80, "Beta": 100, "New": 3},
    ]
    notes = [line for line in lines if "Maria edited the segments during the raise" in line]
    assert len(notes) == 1
    record = ran.xcom("ramp", key=RECORD_XCOM)
    assert [line["what"] for line in record] == ["warning", "raise", "note", "note", "note", "raise"]
    assert "segment 'Staff' was raised from 50 % to 80 %, by Maria" in record[3]["why"]
    assert "a segment 'New' was added, by Maria" in record[4]["why"]


def test_an_audience_changed_at_the_moment_of_a_raise_is_put_back_and_stops_the_rollout(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    flag_id = flag(emulator, enabled=True, targetSegments=segments(Staff=50, Beta=1))
    hers = segments(Staff=80, Beta=1)

    def maria_is_quick() -> None:
        emulator.edit_before_write("flags", flag_id, by="Maria", targetSegments=hers)
        soaks.end()

    soaks.will(maria_is_quick)
    broken = Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", **broken.callback, **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert emulator.flag(flag_id)["targetSegments"] == segments(Staff=80, Beta=25)
    assert "segment 'Staff' was raised from 50 % to 80 %, by Maria" in broken.said("ramp")


@pytest.mark.parametrize(
    ("fields", "edit", "shown", "left"),
    [
        ({"rolloutPercentage": 1}, {"rolloutPercentage": 60}, "60 %", {"rolloutPercentage": 60}),
        ({"rolloutPercentage": 1}, {"enabled": False}, "1 % (disabled)", {"rolloutPercentage": 1, "enabled": False}),
        (
            {"targetSegments": segments(Staff=50, Beta=1)},
            {"targetSegments": segments(Staff=51, Beta=2)},
            "2 %",
            {"targetSegments": segments(Staff=51, Beta=2)},
        ),
    ],
    ids=["percentage", "switch", "segment"],
)
def test_who_is_overwritten_at_the_moment_of_a_raise_is_named_and_put_back(
    run: Runner,
    emulator: Emulator,
    dag_id: str,
    soaks: Soaks,
    fields: dict[str, Any],
    edit: dict[str, Any],
    shown: str,
    left: dict[str, Any],
) -> None:
    flag_id = flag(emulator, enabled=True, **fields)

    def maria_is_quick() -> None:
        emulator.edit_before_write("flags", flag_id, by="Maria", **edit)
        soaks.end()

    soaks.will(maria_is_quick)
    broken = Failures()
    segment = "Beta" if "targetSegments" in fields else None
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", segment=segment, **RETRIED, **broken.callback, **PLAN
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    now = emulator.flag(flag_id)
    assert {name: now[name] for name in left} == left
    hers = next(version for version in emulator.versions("flags", flag_id) if version["createdBy"] == "Maria")
    assert f"Conflict on flag {flag_id}: Maria changed it to {shown} during the raise" in broken.said("ramp")
    assert f"(version {hers['version']}, {hers['createdAt']})" in broken.said("ramp")
    assert "That change was restored. The rollout stopped" in broken.said("ramp")
    lines = [line["what"] for line in ran.xcom("ramp", key=RECORD_XCOM)]
    assert [what for what in lines if what != "warning"] == ["error"]


def test_each_stop_that_fails_the_task_says_the_next_step() -> None:
    skips = {AbortCause.REJECTED, AbortCause.NO_ANSWER, AbortCause.NOTHING_RAISED}
    other_errors = {AbortCause.NOT_LOWERED}  # the end of a rollback
    assert set(NEXT_STEP) == set(AbortCause) - skips - other_errors
    assert all(NEXT_STEP.values())
