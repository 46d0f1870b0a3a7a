"""Sticky bucketing keeps users in at any percentage, so tasks that set or await a percentage report it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.lifecycle import AmplitudeDisableOperator, AmplitudeEditOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeSetRolloutOperator, AmplitudeSetWeightsOperator
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor

SEGMENT: dict[str, Any] = {
    "name": "Beta",
    "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
    "percentage": 50,
    "rolloutWeights": {"control": 1},
    "bucketingKey": "user_id",
}
LOWERED = "so a lower percentage removes no user"
Task = Callable[..., BaseOperator]


def task(kind: type[BaseOperator], **arguments: Any) -> Task:
    return lambda **target: kind(task_id="task", **arguments, **target)


WARNED: dict[str, tuple[Task, str]] = {
    "lowered": (task(AmplitudeSetRolloutOperator, percentage=10), LOWERED),
    "segment lowered": (task(AmplitudeSetRolloutOperator, percentage=10, segment="Beta"), LOWERED),
    "edited": (task(AmplitudeEditOperator, fields={"rolloutPercentage": 10}), LOWERED),
    "weighed": (
        task(AmplitudeSetWeightsOperator, weights={"control": 3}, others="keep"),
        "new weights apply to new users only",
    ),
    "disabled": (task(AmplitudeDisableOperator), "they get it back, at any percentage"),
    "waited": (task(AmplitudeRolloutSensor, at_least=20), "so more users than the percentage may have it"),
}
SILENT: dict[str, Task] = {
    "raised": task(AmplitudeSetRolloutOperator, percentage=70),
    "the same": task(AmplitudeSetRolloutOperator, percentage=40),
    "lowered and not sticky any more": task(
        AmplitudeEditOperator, fields={"rolloutPercentage": 10, "stickyBucketing": False}
    ),
}


def warnings(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, made: BaseOperator) -> list[str]:
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.Logger("task")
    logger.addHandler(handler)
    monkeypatch.setattr(type(made), "log", logger)
    made.execute({})  # type: ignore[arg-type]
    return [line for line in told if "Task Runner" not in line]


def create(emulator: Emulator, *, sticky: bool = True) -> str:
    fields: dict[str, Any] = {"stickyBucketing": sticky, "targetSegments": [SEGMENT], "deployments": ["1"]}
    fields["variants"] = [{"key": "control"}]
    return str(emulator.create_experiment("search", enabled=True, rolloutPercentage=40, **fields)["id"])


@pytest.mark.parametrize("name", WARNED)
@pytest.mark.parametrize("by", ["key", "id"])
def test_who_lowers_weighs_disables_or_waits_for_a_sticky_experiment_is_told(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, name: str, by: str
) -> None:
    made, words = WARNED[name]
    experiment_id = create(emulator)
    target = {"experiment_key": "search"} if by == "key" else {"experiment_id": experiment_id}
    told = warnings(emulator, monkeypatch, made(**target))
    assert len(told) == 1
    assert words in told[0]


@pytest.mark.parametrize("name", SILENT)
def test_what_sticky_bucketing_does_not_hinder_is_not_warned_of(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    create(emulator)
    assert warnings(emulator, monkeypatch, SILENT[name](experiment_key="search")) == []


@pytest.mark.parametrize("name", WARNED)
def test_nobody_is_warned_where_sticky_bucketing_is_off(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    create(emulator, sticky=False)
    assert warnings(emulator, monkeypatch, WARNED[name][0](experiment_key="search")) == []
