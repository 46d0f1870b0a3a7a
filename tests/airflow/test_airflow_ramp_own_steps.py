"""Changes of other tasks with the connection's key are not steps of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run
from ramps import HAS_TASK_STATE, ON, PLAN, RETRIED, Deaths, Failures, Soaks, clear, exposures, flag, told, writes

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

Runner = Callable[..., Run]

# The percentages that another task with the same key sets in the soak of 1 %, of a plan of 1, 25 and 100 %.
FOREIGN = {"next": 25, "no_stage": 7, "last": 100, "none": 0}
HALF_AN_HOUR = 1800


def another_task(emulator: Emulator, flag_id: str, **fields: Any) -> Callable[[], None]:
    """Return a function that edits the flag after half of a soak of an hour, by the name of this connection's key."""

    def happens() -> None:
        emulator.advance(HALF_AN_HOUR)
        emulator.edit("flags", flag_id, by="Airflow", **fields)

    return happens


@pytest.mark.parametrize("is_checked", [False, True], ids=["unchecked", "checked"])
def test_a_change_by_another_task_with_the_same_key_stops_the_ramp_and_is_named(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, is_checked: bool
) -> None:
    ids = {key: flag(emulator, key) for key in FOREIGN}
    broken = Failures()
    guardrails = {"guardrails": [lambda moment: True]} if is_checked else {}
    with DAG(dag_id, default_args={**RETRIED, "trigger_rule": "all_done", **broken.callback}) as dag:
        chain(*[AmplitudeRampRolloutOperator(task_id=key, flag_key=key, **guardrails, **PLAN) for key in FOREIGN])
    for key, percentage in FOREIGN.items():
        soaks.will(another_task(emulator, ids[key], rolloutPercentage=percentage))
    ran = run(dag)

    assert ran.states == dict.fromkeys(FOREIGN, "failed")
    assert {key: exposures(emulator, ids[key]) for key in FOREIGN} == {key: [0, 1, FOREIGN[key]] for key in FOREIGN}
    for key, percentage in FOREIGN.items():
        assert f"from 1 % to {percentage} % by Airflow at " in broken.said(key)
        if percentage:
            assert "(this connection's own key: another task or run with the same key did it)" in broken.said(key)


def test_a_segments_change_by_another_task_with_the_same_key_stops_its_ramp(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    rest: dict[str, Any] = {
        "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
        "rolloutWeights": {"on": 1},
        "bucketingKey": "amplitude_id",
    }
    segment = {"name": "Beta", "percentage": 0, **rest}
    flag_id = flag(emulator, targetSegments=[segment], enabled=True)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", segment="Beta", **PLAN)
    soaks.will(another_task(emulator, flag_id, targetSegments=[{**segment, "percentage": 25}]))
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert emulator.flag(flag_id)["targetSegments"][0]["percentage"] == 25


def test_a_ramp_that_keeps_its_worker_stops_too(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_ampexp.polling._rollout_wait import RolloutWait

    flag_id = flag(emulator)
    look = RolloutWait.look

    def foreign(watch: RolloutWait, client: Any) -> Any:
        monkeypatch.setattr(RolloutWait, "look", look)
        another_task(emulator, flag_id, rolloutPercentage=25)()
        return look(watch, client)

    monkeypatch.setattr(RolloutWait, "look", foreign)
    ramp = AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **{**PLAN, "deferrable": False})
    with pytest.raises(AirflowFailException, match=r"from 1 % to 25 % by Airflow at .*own key"):
        ramp.execute({})
    assert exposures(emulator, flag_id) == [0, 1, 25]


@pytest.mark.parametrize("percentage", [25, 100])
def test_a_retry_takes_no_early_raise_of_another_task_for_its_own(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch, percentage: int
) -> None:
    """The worker died right after the first stage, and the other task raised the flag before the retry."""
    flag_id = flag(emulator)
    deaths, tries = Deaths(soaks, monkeypatch), iter([1, 2])

    def before(context: Any) -> None:
        if next(tries) == 1:
            deaths.at(3, done=True)
        else:
            another_task(emulator, flag_id, rolloutPercentage=percentage)()

    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[lambda moment: True],
            pre_execute=before,
            **RETRIED,
            **PLAN,
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 2})
    assert exposures(emulator, flag_id) == [0, 1, percentage]


def test_what_may_be_another_attempts_step_is_checked_before_it_counts(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    """The next stage right after the soak looks like a step of another attempt of this task."""
    verdicts = {"passes": True, "fails": False}
    ids = {key: flag(emulator, key) for key in verdicts}
    asked: list[tuple[str, float]] = []

    def errors(moment: Any) -> bool:
        if not moment.is_preflight:
            asked.append((moment.flag_key, moment.percentage))
        return moment.percentage < 25 or verdicts[moment.flag_key]

    def after_the_soak(flag_id: str) -> Callable[[], None]:
        def happens() -> None:
            soaks.end()
            emulator.edit("flags", flag_id, by="Airflow", rolloutPercentage=25)

        return happens

    with DAG(dag_id, default_args={"trigger_rule": "all_done"}) as dag:
        chain(
            *[AmplitudeRampRolloutOperator(task_id=key, flag_key=key, guardrails=[errors], **PLAN) for key in verdicts]
        )
    soaks.will(after_the_soak(ids["passes"]), None, after_the_soak(ids["fails"]))
    ran = run(dag)

    assert ran.states == {"passes": "success", "fails": "failed"}
    assert asked == [("passes", 25), ("passes", 25), ("fails", 25)]
    assert exposures(emulator, ids["passes"]) == [0, 1, 25, 100]
    assert exposures(emulator, ids["fails"]) == [0, 1, 25, 0]


@pytest.mark.parametrize("percentage", [25, 100])
def test_a_group_is_stopped_by_another_task_with_the_same_key(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, percentage: int
) -> None:
    """The flag stays at the other task's percentage. The group's rollback, too, undoes only raises of this rollout."""
    flag_id = flag(emulator)
    asked: list[float] = []

    def errors(moment: Any) -> bool:
        asked.append(moment.percentage)
        return True

    with DAG(dag_id) as dag:
        staged_rollout(flag_key="search", guardrails=[errors], **PLAN)
    soaks.will(another_task(emulator, flag_id, rolloutPercentage=percentage))
    ran = run(dag)

    states = {name.removeprefix("rollout."): state for name, state in ran.states.items()}
    assert states == {
        "stage_1": "failed",
        "stage_25": "upstream_failed",
        "stage_100": "upstream_failed",
        "rollback": "skipped",
    }
    assert exposures(emulator, flag_id) == [0, 1, percentage]


# the target of a rollback, when another run began the rollout


def test_the_rollback_of_a_run_that_took_over_goes_to_where_the_rollout_began(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a clear, and in a new run, the target is 0 % and disabled, not the stage at which the run took over."""
    ids = {key: flag(emulator, key) for key in ("cleared", "new_run")}
    lines = told(monkeypatch)
    answers: list[bool] = []
    deaths = Deaths(soaks, monkeypatch)

    def errors(moment: Any) -> bool:
        if moment.is_preflight:
            return True
        if not answers:
            deaths.at(1, done=False)
            return True
        return answers.pop(0)

    def dags(name: str) -> DAG:
        with DAG(f"{dag_id}_{name}") as dag:
            AmplitudeRampRolloutOperator(task_id="ramp", flag_key=name.split("-")[0], guardrails=[errors], **PLAN)
        return dag

    cleared = dags("cleared")
    first = {"cleared": run(cleared), "new_run": run(dags("new_run"))}
    assert {key: exposures(emulator, object_id) for key, object_id in ids.items()} == {key: [0, 1] for key in ids}

    answers[:] = [True, False]  # at 1 %, then at 25 %
    assert run(dags("new_run-again")).states == {"ramp": "failed"}
    answers[:] = [True, False]
    assert clear(first["cleared"], cleared) == {"ramp": "failed"}
    assert {key: exposures(emulator, object_id) for key, object_id in ids.items()} == {
        key: [0, 1, 25, 0] for key in ids
    }
    assert all(emulator.flag(value)["enabled"] is False for value in ids.values())
    assert sum("Rolling back" in line for line in lines) == 2


def test_a_rollback_that_lowers_nothing_is_not_called_one(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person had set 25 % before the rollout began, so this is its start."""
    flag_id = flag(emulator, enabled=True, rolloutPercentage=25)
    lines, broken = told(monkeypatch), Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp", flag_key="search", guardrails=[lambda moment: False], **broken.callback, **PLAN
        )
    assert run(dag).states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [25]
    why = "before this rollout the flag was at 25 %, which is not below 25 %, so nothing was lowered"
    assert f"It was left at 25 %: users still get it. No rollback: {why}" in broken.said("ramp")
    assert any(f"Failing without a rollback ({why})" in line for line in lines)
    assert not any("Rolling back" in line for line in lines)


def test_a_rollout_that_could_not_go_back_is_refused_before_it_raises(
    run: Runner, emulator: Emulator, dag_id: str
) -> None:
    flag_id = flag(emulator, enabled=True, rolloutPercentage=1, variants=ON)
    emulator.edit("flags", flag_id, by="Airflow", rolloutPercentage=25)
    emulator.settings(omit_version_fields=["rolloutPercentage"])
    emulator.clear_requests()
    broken = Failures()
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **RETRIED, **broken.callback, **PLAN)
    ran = run(dag)
    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert writes(emulator) == 0
    assert "Set rollback= to a percentage or to 'off'" in broken.said("ramp")


@pytest.mark.skipif(not HAS_TASK_STATE, reason="this Airflow keeps no notes of a task")
def test_a_retry_under_lowered_retries_undoes_no_rollback(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies right after the rollback. By its numbers, the retry looks like a first attempt after a clear."""
    flag_id = flag(emulator)
    deaths = Deaths(soaks, monkeypatch)
    log_warnings: list[Any] = []

    def before(context: Any) -> None:
        if context["ti"].try_number == 1 and not exposures(emulator, flag_id)[1:]:
            deaths.at(7, done=True)
        elif context["ti"].try_number == 2:
            log_warnings.append(context["task_state_store"].get("amplitude_experiment_begun"))
            ramp.retries = int(RETRIED["retries"]) - 1  # as if the DAG file had been edited
            context["ti"].task.retries = ramp.retries

    with DAG(dag_id) as dag:
        ramp = AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[lambda moment: False],
            pre_execute=before,
            **RETRIED,
            **PLAN,
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 2})
    assert log_warnings[0]["try"] == 1
    assert exposures(emulator, flag_id) == [0, 1, 0]
