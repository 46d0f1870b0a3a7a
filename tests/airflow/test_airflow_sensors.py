"""Each sensor ends in the same way in each mode: poke, reschedule and deferred."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import structlog
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow_runs import Run

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import _refusals
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.sensors import _base as base
from airflow_provider_ampexp.sensors.experiment import AmplitudeExperimentStateSensor
from airflow_provider_ampexp.sensors.rollout import AmplitudeEnabledSensor, AmplitudeRolloutSensor
from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger

Runner = Callable[[DAG], Run]
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferred": {"deferrable": True},
}
KINDS: dict[str, dict[str, Any]] = {"plain": {}, "soft": {"soft_fail": True}, "never": {"never_fail": True}}
QUICK: dict[str, Any] = {"poll_interval": 0.1, "timeout": 0.3}


def all_modes(kind: type, name: str, **arguments: Any) -> None:
    for mode, how in MODES.items():
        kind(task_id=f"{name}_{mode}", **{**QUICK, **how, **arguments})


def test_what_is_so_already_ends_the_wait_with_one_request(run: Runner, emulator: Emulator, dag_id: str) -> None:
    emulator.create_flag(
        "search",
        enabled=True,
        rolloutPercentage=25,
        variants=[{"key": "on"}],
        targetSegments=[{"name": "Beta", "conditions": [], "percentage": 80, "rolloutWeights": {"on": 1}}],
    )
    emulator.create_experiment("button", state="decision-made", decision="rollout", variants=[{"key": "on"}])
    emulator.clear_requests()
    with DAG(dag_id, params={"states": ["decision-made"], "off": False}) as dag:
        all_modes(AmplitudeRolloutSensor, "rollout", flag_key="search", at_least="25")
        all_modes(AmplitudeRolloutSensor, "segment", flag_key="search", at_least=80, segment="Beta")
        all_modes(AmplitudeEnabledSensor, "enabled", flag_key="search")
        all_modes(AmplitudeEnabledSensor, "off", experiment_key="button", enabled="{{ params.off }}")
        all_modes(AmplitudeExperimentStateSensor, "state", experiment_key="button", states="{{ params.states }}")
    ran = run(dag)

    assert ran.succeeded, ran.states
    assert emulator.requests()["total"] == len(ran.states)
    seen = [ran.xcom(f"rollout_{mode}") for mode in MODES]
    assert {**seen[0], "id": "", "url": ""} == {"id": "", "url": "", "key": "search", "percentage": 25, "enabled": True}
    assert seen == [seen[0]] * 3
    assert ran.xcom("segment_deferred")["percentage"] == 80
    state = ran.xcom("state_deferred")
    assert (state["state"], state["decision"]) == ("decision-made", "rollout")
    assert ran.xcom("state_poke", key="amplitude_experiment_url") == state["url"]


@pytest.mark.parametrize("mode", MODES)
def test_what_comes_true_while_waiting(run: Runner, emulator: Emulator, dag_id: str, mode: str) -> None:
    flag = emulator.create_flag("search", enabled=True, variants=[{"key": "on"}])
    emulator.clear_requests()

    def maria() -> None:
        while emulator.requests()["total"] < 2:
            time.sleep(0.02)
        emulator.edit("flags", flag["id"], rolloutPercentage=50)

    person = threading.Thread(target=maria)
    person.start()
    with DAG(dag_id) as dag:
        AmplitudeRolloutSensor(
            task_id="wait", flag_key="search", at_least=50, poll_interval=0.1, timeout=30, **MODES[mode]
        )
    ran = run(dag)
    person.join()

    assert ran.succeeded, ran.states
    assert ran.xcom("wait")["percentage"] == 50
    assert ran.xcom("wait")["id"] == flag["id"]
    assert ran.xcom("wait", key="amplitude_experiment_url").endswith(flag["id"])
    assert emulator.requests()["total"] >= 3
    assert {request["method"] for request in emulator.request_log()} == {"GET"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_never_comes_true_ends_alike_in_all_modes(run: Runner, emulator: Emulator, dag_id: str, kind: str) -> None:
    """At the first poll the flag is archived, missing, in a failed state or without access; or the time runs out."""
    variants = [{"key": "on"}]
    emulator.create_flag("archived", enabled=True, deleted=True, rolloutPercentage=100, variants=variants)
    emulator.create_flag("slow", enabled=True, rolloutPercentage=1, variants=variants)
    emulator.create_experiment("failed", state="planning", variants=variants)
    with DAG(dag_id, default_args={"retries": 1, "retry_delay": timedelta(0), **KINDS[kind]}) as dag:
        all_modes(AmplitudeRolloutSensor, "archived", flag_key="archived", at_least=10)
        all_modes(AmplitudeEnabledSensor, "gone", flag_id="999")
        all_modes(
            AmplitudeExperimentStateSensor,
            "failed",
            experiment_key="failed",
            states=["running"],
            failed_states=["planning"],
        )
        all_modes(AmplitudeRolloutSensor, "slow", flag_key="slow", at_least=10)
        all_modes(AmplitudeRolloutSensor, "no_segment", flag_key="slow", at_least=10, segment="Nobody")
    ran = run(dag)

    wanted = "failed" if kind == "plain" else "skipped"
    assert ran.states == dict.fromkeys(ran.states, wanted)
    assert set(ran.tries.values()) == {1}  # without a retry


@pytest.mark.parametrize("kind", KINDS)
def test_what_becomes_impossible_while_waiting_ends_alike_in_all_modes(
    run: Runner, emulator: Emulator, dag_id: str, kind: str
) -> None:
    with DAG(dag_id, default_args={"retries": 1, "retry_delay": timedelta(0), **KINDS[kind]}) as dag:
        for mode, how in MODES.items():
            flag = emulator.create_flag(mode, enabled=True, variants=[{"key": "on"}])
            AmplitudeRolloutSensor(
                task_id=mode,
                flag_id=flag["id"],
                at_least=10,
                poll_interval=0.1,
                timeout=30,
                pre_execute=lambda context, id=flag["id"]: archive_after_one_look(emulator, id),
                **how,
            )
    ran = run(dag)

    assert ran.states == dict.fromkeys(MODES, "failed" if kind == "plain" else "skipped")
    assert set(ran.tries.values()) == {1}


def archive_after_one_look(emulator: Emulator, id: str) -> None:
    def maria() -> None:
        while not any(request["path"].endswith(id) for request in emulator.request_log()):
            time.sleep(0.02)
        emulator.edit("flags", id, archive=True)

    if not any(request["path"].endswith(id) for request in emulator.request_log()):
        threading.Thread(target=maria).start()


@pytest.mark.parametrize(
    ("event", "plain", "soft", "never"),
    [
        ({"status": "never", "why": "x", "seen": {}}, AirflowFailException, AirflowSkipException, AirflowSkipException),
        ({"status": "timeout", "why": "x"}, AirflowSensorTimeout, AirflowSkipException, AirflowSkipException),
        (
            {"status": "error", "why": "x", "is_retryable": False},
            AirflowFailException,
            AirflowSkipException,
            AirflowSkipException,
        ),
        (
            {"status": "error", "why": "x", "is_retryable": True},
            AmplitudeTaskError,
            AmplitudeTaskError,
            AirflowSkipException,
        ),
        ({"status": "surprise"}, AmplitudeTaskError, AmplitudeTaskError, AirflowSkipException),
        (None, AmplitudeTaskError, AmplitudeTaskError, AirflowSkipException),
    ],
)
def test_the_events_of_the_trigger(event: Any, plain: type, soft: type, never: type) -> None:
    for arguments, wanted in (({}, plain), ({"soft_fail": True}, soft), ({"never_fail": True}, never)):
        sensor = AmplitudeEnabledSensor(task_id="s", flag_key="a", deferrable=True, **arguments)
        with pytest.raises(wanted) as caught:
            sensor.resume_execution("resume", {"event": event}, {})
        assert type(caught.value) is wanted
    if event is None or event["status"] == "surprise":
        with pytest.raises(AmplitudeTaskError, match="unknown event"):
            AmplitudeEnabledSensor(task_id="s", flag_key="a").resume({}, event)


def test_polls_that_fail_for_now_are_ridden_out_up_to_a_limit(
    impatient: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = impatient.create_flag("search", variants=[{"key": "on"}])
    arguments: dict[str, Any] = {"flag_id": flag["id"], "poll_interval": 0.01, "timeout": 60}
    impatient.fault("status", times=base.FAILURES - 1, status=503)
    assert AmplitudeEnabledSensor(task_id="a", enabled=False, **arguments).execute({})["enabled"] is False
    impatient.fault("cut_before", times=base.FAILURES)
    with pytest.raises(AmplitudeTaskError, match="Failed to read flag"):
        AmplitudeEnabledSensor(task_id="b", enabled=False, soft_fail=True, **arguments).execute({})
    impatient.fault("status", times=base.FAILURES + 5, status=429)
    with pytest.raises(AirflowSkipException):
        AmplitudeEnabledSensor(task_id="c", enabled=False, never_fail=True, **arguments).execute({})
    impatient.clear_faults()
    monkeypatch.setattr(_refusals, "_PAUSE", 0.05)
    impatient.fault("status", times=3, status=401)
    assert AmplitudeEnabledSensor(task_id="f", enabled=False, **arguments).execute({})["enabled"] is False
    monkeypatch.setattr(_refusals, "REFUSED_FOR", 0.2)
    impatient.fault("status", times=None, status=401)
    with pytest.raises(AirflowFailException, match="key"):
        AmplitudeEnabledSensor(task_id="e", enabled=False, **arguments).execute({})


def test_an_unknown_state_is_told_once_and_waited_for(emulator: Emulator) -> None:
    experiment = emulator.create_experiment("button", state="pondering", variants=[{"key": "on"}])
    sensor = AmplitudeExperimentStateSensor(
        task_id="s", experiment_id=experiment["id"], states=["running"], poll_interval=0.05, timeout=0.3
    )
    with (
        structlog.testing.capture_logs() as told,
        pytest.raises(AirflowSensorTimeout, match="its state is 'pondering'"),
    ):
        sensor.execute({})
    assert len([line for line in told if "is an undocumented state" in line["event"]]) == 1
    with pytest.warns(UserWarning, match="'pondering' is not a documented state"):
        found = AmplitudeExperimentStateSensor(task_id="t", experiment_id=experiment["id"], states=["pondering"])
    assert found.execute({})["state"] == "pondering"


def test_disabled_counts_as_nothing(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", enabled=False, rolloutPercentage=100, variants=[{"key": "on"}])
    sensor = AmplitudeRolloutSensor(task_id="s", flag_id=flag["id"], at_least=1, poll_interval=0.05, timeout=0.1)
    with pytest.raises(AirflowSensorTimeout, match="it is disabled, at 100 %"):
        sensor.execute({})


def test_archived_is_judged_by_what_is_waited_for(emulator: Emulator) -> None:
    off = emulator.create_flag("off", enabled=False, deleted=True, variants=[{"key": "on"}])
    done = emulator.create_experiment("done", state="decision-made", deleted=True, variants=[{"key": "on"}])
    assert AmplitudeEnabledSensor(task_id="a", flag_id=off["id"], enabled=False).execute({})["enabled"] is False
    sensor = AmplitudeExperimentStateSensor(task_id="b", experiment_id=done["id"], states=["decision-made"])
    assert sensor.execute({})["state"] == "decision-made"
    with pytest.raises(AirflowFailException, match=r"experiment .*can no longer be met: .*archived"):
        AmplitudeExperimentStateSensor(task_id="c", experiment_id=done["id"], states=["running"]).execute({})


def test_how_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AmplitudeEnabledSensor(task_id="a", flag_key="a").poll_interval == 60
    assert AmplitudeEnabledSensor(task_id="b", flag_key="a", poke_interval=5).poll_interval == 5
    assert AmplitudeEnabledSensor(task_id="c", flag_key="a", poke_interval=5, poll_interval=7).poke_interval == 7
    assert AmplitudeEnabledSensor(task_id="d", flag_key="a").deferrable is False
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert AmplitudeEnabledSensor(task_id="e", flag_key="a").deferrable is True
    assert AmplitudeEnabledSensor(task_id="f", flag_key="a", deferrable=False).deferrable is False


def test_deferred_it_waits_for_the_id_and_airflow_ends_it_when_nobody_does(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        AmplitudeEnabledSensor(task_id="a", flag_key="search", deferrable=True, timeout=100).execute({})
    _, arguments = deferred.value.trigger.serialize()
    assert (arguments["kind"], arguments["id"]) == ("flags", flag["id"])
    assert before + 100 <= arguments["deadline"] <= time.time() + 100
    assert deferred.value.timeout > timedelta(seconds=100)


@pytest.mark.parametrize(
    ("sensor", "arguments", "named"),
    [
        (AmplitudeRolloutSensor, {"flag_key": "a", "at_least": 101}, "at_least"),
        (AmplitudeRolloutSensor, {"at_least": 1}, "flag_key"),
        (AmplitudeEnabledSensor, {"flag_key": "a", "enabled": "maybe"}, "enabled"),
        (AmplitudeExperimentStateSensor, {"experiment_key": "a", "states": []}, "states"),
        (AmplitudeExperimentStateSensor, {"experiment_key": "a", "states": "running"}, "states"),
    ],
)
def test_wrong_arguments_are_refused_while_the_dag_is_parsed(sensor: type, arguments: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        sensor(task_id="wrong", **arguments)


def test_only_what_is_written_in_the_dag_begins_in_the_triggerer() -> None:
    def begins(**arguments: Any) -> bool:
        sensor = AmplitudeRolloutSensor(
            **{"task_id": "a", "flag_key": "search", "at_least": 10, "deferrable": True, **arguments}
        )
        assert (sensor.start_trigger_args is not None) is sensor.start_from_trigger
        return sensor.start_from_trigger

    assert begins()
    assert begins(soft_fail=True, project_id="1", segment="Beta", on_failure_callback=print)
    assert not begins(deferrable=False)
    assert not begins(flag_key="{{ params.flag }}")
    assert not begins(at_least="{{ params.percentage }}")
    assert not begins(outlets=[Asset("somewhere")])
    assert not begins(execution_timeout=timedelta(hours=1))
    assert not begins(pre_execute=print)
    assert not begins(post_execute=print)
    assert not begins(on_execute_callback=print)
    assert not begins(on_success_callback=print)
    assert not begins(do_xcom_push=False)

    class Mine(AmplitudeRolloutSensor):
        def poke(self, context: Any) -> Any:
            return True

    assert not Mine(task_id="a", flag_key="a", at_least=1, deferrable=True).start_from_trigger
    # An attribute of the class would also apply to mapped tasks, whose own arguments Airflow ignores then.
    assert AmplitudeRolloutSensor.start_from_trigger is False
    assert AmplitudeRolloutSensor.start_trigger_args is None


def test_a_wait_that_began_in_the_triggerer_keeps_its_end_over_a_restart(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    sensor = AmplitudeEnabledSensor(task_id="a", flag_key="search", deferrable=True, timeout=100, poll_interval=5)
    args: Any = sensor.start_trigger_args
    assert json.loads(json.dumps(args.trigger_kwargs)) == args.trigger_kwargs
    assert args.timeout > timedelta(seconds=100)
    one = AmplitudeFlagStateTrigger(**args.trigger_kwargs)
    one.timeout_after = datetime.fromtimestamp(1_800_000_000, timezone.utc) + args.timeout  # as the triggerer does
    assert one.ends_at == 1_800_000_000 + 100
    one.timeout_after = datetime.now(timezone.utc) - timedelta(hours=1)

    async def only_event() -> Any:
        return [event async for event in one.run()]

    (late,) = asyncio.run(only_event())
    assert (late.payload["status"], late.payload["why"]) == ("timeout", "it is disabled")
    emulator.edit("flags", flag["id"], enabled=True)
    (met,) = asyncio.run(only_event())
    assert type(met).__name__ == "TaskSuccessEvent"
    assert met.xcoms["return_value"]["id"] == flag["id"]
    assert met.xcoms["amplitude_experiment_url"].endswith(flag["id"])
