"""A rollout whose workers die, whose task is retried or cleared, continues from the state of the flag."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow_runs import Run
from ramps import HAS_TASK_STATE, PLAN, RETRIED, Deaths, Failures, Soaks, began, clear, exposures, flag

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import _refusals
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

Runner = Callable[..., Run]


def dying(deaths: Deaths, place: int, done: bool) -> Callable[[Any], None]:
    """Return a callback that sets the time of a task's death before its first attempt."""
    told: list[None] = []

    def tell(context: Any) -> None:
        if not told:
            told.append(None)
            deaths.at(place, done=done)

    return tell


# The requests of a worker in a ramp of two stages: the flag and its history, the raise and its read-back; after the
# soak a poll, the raise and its read-back.
REQUESTS = 7


def test_whenever_its_worker_dies_the_retry_takes_it_from_there(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths
) -> None:
    """The worker dies at each of its requests, before and after it is carried out: no stage or soak is repeated."""
    killed = {f"{place}_{done}": (place, done) for place in range(1, REQUESTS + 1) for done in (False, True)}
    ids = {key: flag(emulator, key) for key in killed}
    plan: dict[str, Any] = {**PLAN, "stages": [1, 25]}
    with DAG(dag_id, default_args=RETRIED) as dag:
        chain(
            *[
                AmplitudeRampRolloutOperator(task_id=key, flag_key=key, pre_execute=dying(deaths, place, done), **plan)
                for key, (place, done) in killed.items()
            ]
        )
    ran = run(dag)

    assert ran.states == dict.fromkeys(killed, "success")
    assert ran.tries == dict.fromkeys(killed, 2)
    assert {key: exposures(emulator, object_id) for key, object_id in ids.items()} == {
        key: [0, 1, 25] for key in killed
    }
    for key, object_id in ids.items():
        result = ran.xcom(key)
        assert (result["before"], result["after"], result["changed"]) == (0, 25, True), key
        # Each wait ends an hour after the first stage was set, by any attempt.
        ends = {watch["until"] for watch in soaks.watches if watch["id"] == object_id}
        assert ends == {soaks.hours_after(began(emulator, object_id)[1], 1)}, key


def test_whenever_its_worker_dies_during_a_rollback_the_retry_ends_it_for_the_same_reason(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths
) -> None:
    killed = {f"{place}_{done}": (place, done) for place in (6, 7, 8) for done in (False, True)}
    ids = {key: flag(emulator, key) for key in killed}
    broken = Failures()

    def errors(moment: CheckContext) -> CheckResult:
        return CheckResult("fail", "9 % of the requests fail")

    with DAG(dag_id, default_args={**RETRIED, "trigger_rule": "all_done", **broken.callback}) as dag:
        chain(
            *[
                AmplitudeRampRolloutOperator(
                    task_id=key, flag_key=key, pre_execute=dying(deaths, place, done), guardrails=[errors], **PLAN
                )
                for key, (place, done) in killed.items()
            ]
        )
    ran = run(dag)

    assert ran.states == dict.fromkeys(killed, "failed")
    assert ran.tries == dict.fromkeys(killed, 2)
    assert {key: exposures(emulator, object_id) for key, object_id in ids.items()} == {key: [0, 1, 0] for key in killed}
    for key, object_id in ids.items():
        log = [entry for entry in emulator.request_log() if entry["path"].endswith(f"flags/{object_id}")]
        lowerings = [entry for entry in log if entry["method"] == "PATCH"][1:]
        assert len(lowerings) == 1, key  # an attempt that finds the flag lowered writes nothing
        assert emulator.flag(object_id)["enabled"] is False
    for key in ("6_False", "6_True", "7_False"):
        assert "and confirmed it by reading: errors (fail 1 of 1): 9 % of the requests fail" in broken.said(key)
    for key in ("7_True", "8_False", "8_True"):
        assert "the flag was lowered from 1 % to 0 % (disabled) by Airflow" in broken.said(key)
        assert "a retry does not undo that" in broken.said(key)
        assert ("9 % of the requests fail" in broken.said(key)) is HAS_TASK_STATE


@pytest.mark.skipif(not HAS_TASK_STATE, reason="this Airflow does not keep what the dead attempt had decided")
def test_a_retry_finishes_the_rollback_whatever_the_guardrails_say_by_then(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths
) -> None:
    flag_id = flag(emulator)
    answers = iter(["fail", "pass"])
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[lambda moment: CheckResult(next(answers))],  # type: ignore[arg-type]
            preflight=False,
            pre_execute=dying(deaths, 6, False),
            **RETRIED,
            **PLAN,
        )
    ran = run(dag)

    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 0]


def test_a_retry_asks_the_guardrails_before_it_goes_on(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, deaths: Deaths
) -> None:
    """The retry cannot know the results of the dead attempt, which died right after the first stage, before a check."""
    flag_id = flag(emulator)
    asked: list[float] = []

    def errors(moment: CheckContext) -> bool:
        if not moment.is_preflight:
            asked.append(moment.percentage)
        return False

    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[errors],
            pre_execute=dying(deaths, 3, True),
            **RETRIED,
            **PLAN,
        )
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 2})
    assert asked == [1]
    assert soaks.watches == []  # not at the end of a soak
    assert exposures(emulator, flag_id) == [0, 1, 0]


def test_who_clears_it_begins_anew(run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks) -> None:
    flag_id = flag(emulator)
    answers = iter(["pass", "fail"])
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key="search",
            guardrails=[lambda moment: CheckResult(next(answers, "pass"))],  # type: ignore[arg-type]
            preflight=False,
            **RETRIED,
            **PLAN,
        )
    ran = run(dag)
    assert ran.states == {"ramp": "failed"}
    assert exposures(emulator, flag_id) == [0, 1, 25, 0]

    assert clear(ran, dag) == {"ramp": "success"}
    assert exposures(emulator, flag_id) == [0, 1, 25, 0, 1, 25, 100]
    result = ran.xcom("ramp")
    assert (result["before"], result["after"]) == (0, 100)


def test_an_attempt_that_lives_on_takes_no_stage_twice_and_is_no_stranger(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks
) -> None:
    """The scheduler believes that it is dead. One attempt continues while the other waits, once at the same time."""
    flag_id = flag(emulator)
    twin = AmplitudeRampRolloutOperator(task_id="twin", flag_key="search", **PLAN)

    def twin_is_quicker() -> None:
        soaks.end()
        with pytest.raises(TaskDeferred):
            twin.execute({})

    def twin_at_the_same_moment() -> None:
        emulator.edit_before_write("flags", flag_id, by="Airflow", rolloutPercentage=100)
        soaks.end()

    soaks.will(twin_is_quicker, twin_at_the_same_moment)
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    assert soaks.watches[1]["until"] == soaks.hours_after(began(emulator, flag_id)[2], 1)


def test_two_attempts_at_once(emulator: Emulator) -> None:
    flag_id = flag(emulator)
    ended: list[str] = []

    def attempt(name: str) -> None:
        ramp = AmplitudeRampRolloutOperator(
            task_id=name, flag_key="search", stages=[1, 25, 100], soak="1s", poll_interval=0.1, deferrable=False
        )
        try:
            ended.append(f"at {ramp.execute({})['after']}")
        except AirflowFailException as error:
            ended.append(str(error))

    attempts = [threading.Thread(target=attempt, args=(name,)) for name in ("one", "other")]
    for item in attempts:
        item.start()
    for item in attempts:
        item.join()

    assert exposures(emulator, flag_id) == [0, 1, 25, 100]
    # An attempt that has set nothing itself sees the other attempt as another actor, and leaves the flag as it is.
    assert "at 100" in ended
    assert all(message == "at 100" or "the flag was changed" in message for message in ended)


def test_a_soak_that_cannot_be_watched_fails_and_leaves_the_flag(
    run: Runner, emulator: Emulator, dag_id: str, soaks: Soaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_refusals, "REFUSED_FOR", 1.0)
    flag_id = flag(emulator)
    broken = Failures()
    # The rollout survives an outage, but not a revoked key.
    soaks.will(
        lambda: (emulator.fault("status", status=503, times=3), soaks.end()),
        lambda: (emulator.fault("status", status=401, times=None), soaks.end()),
    )
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **RETRIED, **broken.callback, **PLAN)
    ran = run(dag)

    assert (ran.states, ran.tries) == ({"ramp": "failed"}, {"ramp": 1})
    assert exposures(emulator, flag_id) == [0, 1, 25]
    assert "Watching flag 'search' failed" in broken.said("ramp")
    assert "The flag stays at 25 %, and no guardrail runs" in broken.said("ramp")


REFUSALS = [
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
    *({"kind": "html", "status": status} for status in (401, 403, 404)),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda value: f"{value['kind']} {value['status']}")
def test_a_rollout_goes_on_after_refusals_of_a_moment(
    run: Runner,
    impatient: Emulator,
    dag_id: str,
    soaks: Soaks,
    monkeypatch: pytest.MonkeyPatch,
    refusal: dict[str, Any],
) -> None:
    """The refusals come while a trigger polls, while a worker reads, and while it writes."""
    monkeypatch.setattr(_refusals, "_PAUSE", 0.05)
    flag_id = flag(impatient)
    soaks.will(
        lambda: (impatient.fault(times=2, **refusal), soaks.end()),
        lambda: (
            impatient.fault(route="GET /api/1/flags/{id}/versions", **refusal),
            impatient.fault(route="PATCH /api/1/flags/{id}", **refusal),
            soaks.end(),
        ),
    )
    with DAG(dag_id) as dag:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **RETRIED, **PLAN)
    ran = run(dag)

    assert ran.states == {"ramp": "success"}
    assert ran.tries["ramp"] == 1 or refusal["kind"] == "html"
    assert exposures(impatient, flag_id) == [0, 1, 25, 100]


@pytest.mark.parametrize("event", [None, {}, {"status": "surprise"}, {"status": "due"}])
def test_an_event_that_it_does_not_know_is_an_error(emulator: Emulator, event: Any) -> None:
    flag(emulator)
    emulator.clear_requests()
    with pytest.raises(AmplitudeTaskError, match="unknown event"):
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN).resume({}, event)
    assert emulator.requests()["total"] == 0


def test_a_wait_whose_trigger_is_lost_ends_some_hours_after_its_time(emulator: Emulator) -> None:
    """`airflow db clean` may delete the row of a waiting trigger, so that its task would stay deferred."""
    flag(emulator)
    with pytest.raises(TaskDeferred) as deferred:
        AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", **PLAN).execute({})
    timeout = deferred.value.timeout
    assert timeout is not None
    assert timedelta(hours=6) < timeout < timedelta(hours=7, minutes=1)
