"""The requests of a task in its log and in Airflow's metrics."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections import Counter
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout

from airflow_provider_ampexp.client import ManagementClient, NoAnswerError, NotFoundError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
from airflow_provider_ampexp.operators.lifecycle import AmplitudeEnableOperator
from airflow_provider_ampexp.polling._conditions import EnabledIs, as_plain
from airflow_provider_ampexp.sensors.rollout import AmplitudeEnabledSensor
from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger

READ, EDIT = "/api/1/flags/{id}", "/api/1/flags/{id}"
TASK, TRIGGERER = "airflow.sdk.observability.stats", "airflow.observability.stats"


class Metrics:
    """A replacement for Airflow's metrics."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counted: dict[str, Counter[tuple[str, ...]]] = {TASK: Counter(), TRIGGERER: Counter()}
        for module in self.counted:
            monkeypatch.setattr(importlib.import_module(module), "Stats", self._stats(module))

    def _stats(self, module: str) -> Any:
        class Stats:
            @staticmethod
            def incr(name: str, *, tags: dict[str, str]) -> None:
                self.counted[module][name, tags["method"], tags["route"], tags["status"]] += 1

        return Stats


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    return Metrics(monkeypatch)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the log lines about requests."""
    lines: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    handler.addFilter(lambda record: "retried" in record.getMessage())
    logger = logging.Logger("told")
    logger.addHandler(handler)
    for kind in (AmplitudeExperimentHook, AmplitudeEnabledSensor):
        monkeypatch.setattr(kind, "log", logger)
    return lines


def test_each_request_is_counted_by_route_and_outcome(emulator: Emulator) -> None:
    flag = emulator.create_flag("search")
    with ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=10) as client:
        client.flags.get(flag["id"])
        with pytest.raises(NotFoundError):
            client.flags.get("999")
        emulator.fault("status", status=503)
        emulator.fault("cut_before")
        client.flags.get(flag["id"])
        assert client.requests.by_route == {
            ("GET", READ, 200): 2,
            ("GET", READ, 404): 1,
            ("GET", READ, 503): 1,
            ("GET", READ, "no answer"): 1,
        }
        assert client.requests.total == emulator.requests()["total"] == 5
        assert client.requests.retried == 2
        assert str(client.requests) == "5 requests, 2 retried"
        emulator.fault("status", status=429, headers={"Retry-After": "0.2"})
        client.flags.get(flag["id"])
    assert client.requests.waits == 1
    assert 0.2 <= client.requests.waited <= 0.4
    assert str(client.requests) == f"7 requests, 3 retried, 1 waited {client.requests.waited:.1f} s for a 429"


def test_what_finds_no_connection_is_no_request() -> None:
    with ManagementClient("ampex_x", base_url="http://127.0.0.1:9", retry_for=0) as client:
        with pytest.raises(Exception, match="nothing was sent"):
            client.flags.get("1")
        assert client.requests.by_route == {("GET", READ, "not sent"): 1}
        assert str(client.requests) == "0 requests, 0 retried"


def test_a_task_tells_of_its_requests_in_one_line_and_in_metrics(
    emulator: Emulator, metrics: Metrics, told: list[str]
) -> None:
    flag = emulator.create_flag("search")
    emulator.fault("status", status=429, headers={"Retry-After": "0.1"}, skip=1)
    AmplitudeEnableOperator(task_id="a", flag_id=flag["id"]).execute({})
    (line,) = told
    assert line.startswith("4 requests, 1 retried, 1 waited 0.")
    assert line.endswith(" s for a 429.")
    assert metrics.counted[TASK] == {
        ("amplitude_experiment.requests", "GET", READ, "200"): 2,
        ("amplitude_experiment.requests", "PATCH", EDIT, "429"): 1,
        ("amplitude_experiment.requests", "PATCH", EDIT, "200"): 1,
    }
    assert not metrics.counted[TRIGGERER]


def test_a_sensor_that_looks_often_tells_of_them_once(emulator: Emulator, told: list[str]) -> None:
    flag = emulator.create_flag("search")
    emulator.clear_requests()
    with pytest.raises(AirflowSensorTimeout):
        AmplitudeEnabledSensor(task_id="a", flag_id=flag["id"], poll_interval=0.05, timeout=0.3).execute({})
    assert told == [f"{emulator.requests()['total']} requests, 0 retried."]


def test_a_sensor_whose_connection_is_wrong_says_that(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**json.loads(emulator.connection_json), "password": ""}
    monkeypatch.setenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT", json.dumps(wrong))
    with pytest.raises(Exception, match="password"):
        AmplitudeEnabledSensor(task_id="a", flag_id="1").execute({})


def test_the_triggerer_counts_in_its_own_metrics_and_tells_of_rounds_at_debug_only(
    emulator: Emulator, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    flag = emulator.create_flag("search", enabled=True)
    trigger = AmplitudeFlagStateTrigger(
        amplitude_conn_id="amplitude_experiment_default",
        kind="flags",
        id=flag["id"],
        condition=as_plain(EnabledIs(True)),
        poll_interval=0.1,
        failures=None,
    )

    async def only_event() -> Any:
        return [event.payload async for event in trigger.run()]

    name = "airflow_provider_ampexp.polling._shared_poller"
    with caplog.at_level("DEBUG", logger=name):
        assert asyncio.run(only_event())[0]["status"] == "met"
    assert metrics.counted == {TASK: {}, TRIGGERER: {("amplitude_experiment.requests", "GET", READ, "200"): 1}}
    rounds = [record for record in caplog.records if record.name == name]
    assert [record.levelname for record in rounds] == ["DEBUG"]
    assert "with 1 requests" in rounds[0].getMessage()


def test_nothing_fails_because_it_cannot_be_counted(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = emulator.create_flag("search")

    class Broken:
        @staticmethod
        def incr(*args: Any, **kwargs: Any) -> None:
            raise OSError("no way to the metrics")

    monkeypatch.setattr(importlib.import_module(TASK), "Stats", Broken)
    assert AmplitudeEnableOperator(task_id="a", flag_id=flag["id"]).execute({})["changed"] is True


def test_a_read_without_an_answer_was_one_request(emulator: Emulator) -> None:
    emulator.fault("cut_before", times=None)
    with (
        ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=0) as client,
        pytest.raises(NoAnswerError),
    ):
        client.flags.get("1")
    assert client.requests.total == emulator.requests()["total"] == 1
