"""The trigger of the sensors, alone in an event loop."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from typing import Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import _refusals
from airflow_provider_ampexp.polling import _shared_poller as shared_poller
from airflow_provider_ampexp.polling._conditions import EnabledIs, RolloutAtLeast, StateIs, as_plain, from_plain
from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger

CONDITIONS = [StateIs(["running"], ["decision-made"]), RolloutAtLeast(25, "Beta"), RolloutAtLeast(25), EnabledIs(True)]


def trigger(id: str, **changes: Any) -> AmplitudeFlagStateTrigger:
    arguments: dict[str, Any] = {
        "amplitude_conn_id": "amplitude_experiment_default",
        "kind": "flags",
        "id": id,
        "condition": as_plain(EnabledIs(True)),
        "poll_interval": 0.05,
        "deadline": time.time() + 30,
        "failures": 3,
    }
    return AmplitudeFlagStateTrigger(**{**arguments, **changes})


def events(one: AmplitudeFlagStateTrigger) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in one.run()]

    return asyncio.run(collect())


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_poller, "_LONGEST_BACKOFF", 0.01)


@pytest.mark.parametrize("condition", CONDITIONS, ids=repr)
def test_its_arguments_are_plain_and_make_it_again(emulator: Emulator, condition: Any) -> None:
    one = trigger("1", condition=as_plain(condition))
    path, arguments = one.serialize()
    assert path == f"{AmplitudeFlagStateTrigger.__module__}.{AmplitudeFlagStateTrigger.__name__}"
    assert json.loads(json.dumps(arguments)) == arguments
    assert AmplitudeFlagStateTrigger(**arguments).serialize() == (path, arguments)
    assert from_plain(arguments["condition"]) == condition
    assert emulator.api_key not in repr(one) + json.dumps(arguments)


def test_it_looks_until_it_is_so_over_one_connection_and_only_reads(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    emulator.clear_requests()
    made: list[Any] = []
    connect = shared_poller.AmplitudeExperimentHook.fields.fget
    monkeypatch.setattr(
        shared_poller.AmplitudeExperimentHook, "fields", property(lambda hook: made.append(hook) or connect(hook))
    )
    person = threading.Timer(0.4, lambda: emulator.edit("flags", flag["id"], enabled=True))
    person.start()
    (event,) = events(trigger(flag["id"]))
    person.join()

    assert (event["status"], event["why"]) == ("met", "it is enabled")
    assert event["seen"]["id"] == flag["id"]
    log = emulator.request_log()
    assert 2 <= len(log) <= 12  # 0.4 s at 0.05 s; a busy machine polls later
    assert {(request["method"], request["route"]) for request in log} == {("GET", "/api/1/flags/{id}")} or {
        request["method"] for request in log
    } == {"GET"}
    assert len(made) == 1  # the connection is looked up once


def test_it_ends_when_it_can_never_be_so(emulator: Emulator) -> None:
    archived = emulator.create_flag("search", deleted=True, variants=[{"key": "on"}])
    assert events(trigger(archived["id"]))[0]["status"] == "never"
    (gone,) = events(trigger("999"))
    assert (gone["status"], gone["why"], gone["seen"]) == ("never", "the flag 999 does not exist", {})


@pytest.mark.usefixtures("quick_backoff")
def test_a_wait_that_began_in_the_triggerer_outlives_a_secrets_backend_that_is_away_when_it_is_restarted(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = emulator.create_flag("search", enabled=True, variants=[{"key": "on"}])
    name = "AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT"
    connection = os.environ[name]
    monkeypatch.delenv(name)
    # For any other wait, a worker has used the connection before, so there a missing one is a mistake in the DAG.
    (event,) = events(trigger(flag["id"]))
    assert (event["status"], event["is_retryable"]) == ("error", False)
    back = threading.Timer(0.4, lambda: monkeypatch.setenv(name, connection))
    back.start()
    met = events(trigger(flag["id"], ends_task=True))
    back.join()
    assert met == ["success"]


def test_a_connection_that_does_not_exist_ends_such_a_wait_when_that_lasts(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_refusals, "REFUSED_FOR", 0.3)
    (event,) = events(trigger("1", ends_task=True, amplitude_conn_id="nobody"))
    assert (event["status"], event["is_retryable"]) == ("error", False)
    assert "nobody" in event["why"]


def test_it_ends_by_its_own_deadline_after_a_last_look(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    started = time.monotonic()
    (event,) = events(trigger(flag["id"], deadline=time.time() + 0.3, poll_interval=60))
    assert (event["status"], event["why"]) == ("timeout", "it is disabled")
    assert event["seen"]["url"].endswith(flag["id"])
    assert 0.3 <= time.monotonic() - started < 3
    emulator.clear_requests()
    # Another triggerer takes the trigger over after its deadline. The trigger polls once more before it ends.
    assert events(trigger(flag["id"], deadline=time.time() - 60))[0]["status"] == "timeout"
    assert emulator.requests()["total"] == 1
    emulator.edit("flags", flag["id"], enabled=True)
    assert events(trigger(flag["id"], deadline=time.time() - 60))[0]["status"] == "met"


@pytest.mark.usefixtures("quick_backoff")
def test_it_rides_out_what_may_pass_up_to_its_limit(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", enabled=True, variants=[{"key": "on"}])
    for kind in ({"kind": "status", "status": 503}, {"kind": "cut_before"}, {"kind": "garbage"}, {"kind": "html"}):
        emulator.clear_requests()
        emulator.fault(times=2, **kind)
        assert events(trigger(flag["id"]))[0]["status"] == "met", kind
        assert emulator.requests()["total"] == 3  # a poll sends one request, and the next poll is the retry
        emulator.fault(times=3, **kind)
        (event,) = events(trigger(flag["id"]))
        assert (event["status"], event["is_retryable"]) == ("error", True), kind
        assert "3 polls in a row failed" in event["why"]
    emulator.fault("status", times=8, status=503)
    assert events(trigger(flag["id"], failures=None))[0]["status"] == "met"


@pytest.mark.usefixtures("quick_backoff")
def test_failures_count_in_a_row(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    for skip in (0, 3, 6):
        emulator.fault("status", times=2, skip=skip // 3, status=503)
    assert events(trigger(flag["id"], deadline=time.time() + 1.5))[0]["status"] == "timeout"


def test_it_waits_as_long_as_a_429_says(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", enabled=True, variants=[{"key": "on"}])
    emulator.fault("status", status=429, headers={"Retry-After": "3"})
    started = time.monotonic()
    assert events(trigger(flag["id"]))[0]["status"] == "met"
    assert time.monotonic() - started >= 3


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.usefixtures("quick_backoff")
def test_it_gives_up_when_a_refusal_lasts(emulator: Emulator, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    switched_on = emulator.create_flag("on", enabled=True, variants=[{"key": "on"}])
    emulator.fault("status", times=3, status=status)
    assert events(trigger(switched_on["id"]))[0]["status"] == "met"
    monkeypatch.setattr(_refusals, "REFUSED_FOR", 0.0)
    flag = emulator.create_flag("search", variants=[{"key": "on"}])
    emulator.fault("status", times=None, status=status)
    emulator.clear_requests()
    (event,) = events(trigger(flag["id"]))
    assert (event["status"], event["is_retryable"]) == ("error", False)
    assert f"({status})" in event["why"]
    assert emulator.api_key not in event["why"]
    assert emulator.requests()["total"] == 1


def test_it_never_raises(emulator: Emulator) -> None:
    (unknown,) = events(trigger("1", condition={"name": "moon_is_full"}))
    assert (unknown["status"], unknown["is_retryable"]) == ("error", True)
    (nowhere,) = events(trigger("1", amplitude_conn_id="nowhere"))
    assert (nowhere["status"], nowhere["is_retryable"]) == ("error", False)
    assert "nowhere" in nowhere["why"]


def test_it_lets_the_event_loop_go_on(emulator: Emulator) -> None:
    flag = emulator.create_flag("search", enabled=True, variants=[{"key": "on"}])
    emulator.fault("slow", seconds=0.5)

    async def both() -> tuple[Any, int]:
        ticks = 0
        wait = asyncio.ensure_future(anext(trigger(flag["id"]).run()))
        while not wait.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return wait.result().payload, ticks

    event, ticks = asyncio.run(both())
    assert event["status"] == "met"
    assert ticks >= 10
