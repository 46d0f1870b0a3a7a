"""A person changes the flag while a ramp writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.client import _transport as transport
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator


def ramp(emulator: Emulator) -> tuple[AmplitudeRampRolloutOperator, str]:
    """Return a ramp that is about to raise from 5 % to 25 %, and the flag's id."""
    flag = emulator.create_flag("search", enabled=True, rolloutPercentage=5, variants=[{"key": "on"}])
    operator = AmplitudeRampRolloutOperator(task_id="ramp", flag_key="search", stages=[1, 5, 25, 100], soak=0)
    return operator, flag["id"]


def exposed(emulator: Emulator, flag_id: str) -> list[tuple[str, Any, Any]]:
    """Return the actor and the exposure of each version from the second on, oldest first."""
    versions = reversed(emulator.versions("flags", flag_id)[:-1])
    return [
        (version["createdBy"], version["flagConfig"]["rolloutPercentage"], version["flagConfig"]["enabled"])
        for version in versions
    ]


@contextmanager
def after_the_raise(emulator: Emulator, flag_id: str, *hers: dict[str, Any]) -> Iterator[None]:
    """Let Maria edit the flag after the raise to 25 % is applied, and before its response arrives."""
    emulator.fault("slow_after", route="PATCH /api/1/flags/{id}", seconds=1.0)

    def maria() -> None:
        while emulator.flag(flag_id)["rolloutPercentage"] != 25:
            time.sleep(0.01)
        for fields in hers:
            emulator.edit("flags", flag_id, by="Maria", **fields)

    thread = threading.Thread(target=maria)
    thread.start()
    yield
    thread.join()


def test_who_disables_the_flag_between_look_and_write_has_the_last_word(emulator: Emulator) -> None:
    operator, flag_id = ramp(emulator)
    emulator.edit_before_write("flags", flag_id, by="Maria", enabled=False)

    with pytest.raises(AirflowFailException, match=r"Maria changed it to .* restored. The rollout stopped"):
        operator.execute({})
    # Our write was already in flight. It did not enable the flag, and Maria's percentage is restored.
    assert exposed(emulator, flag_id) == [("Maria", 5, False), ("Airflow", 25, False), ("Airflow", 5, False)]


def test_who_disables_the_flag_between_write_and_reading_back_has_the_last_word(emulator: Emulator) -> None:
    operator, flag_id = ramp(emulator)
    with (
        after_the_raise(emulator, flag_id, {"enabled": False}),
        pytest.raises(AirflowFailException, match=r"the flag was changed .* by Maria"),
    ):
        operator.execute({})
    assert exposed(emulator, flag_id) == [("Airflow", 25, True), ("Maria", 25, False)]


@pytest.mark.parametrize("hers", [0, 100])
def test_what_a_person_left_and_set_again_after_our_write_is_not_restored(emulator: Emulator, hers: int) -> None:
    """The newest version has our percentage, but it is Maria's. So the rollout did not overwrite the version before."""
    operator, flag_id = ramp(emulator)
    with (
        after_the_raise(emulator, flag_id, {"rolloutPercentage": hers}, {"rolloutPercentage": 25}),
        pytest.raises(AirflowFailException, match=r"the flag was changed .* by Maria"),
    ):
        operator.execute({})
    assert exposed(emulator, flag_id) == [("Airflow", 25, True), ("Maria", hers, True), ("Maria", 25, True)]


@pytest.mark.parametrize("on_drift", ["stop", "adopt"])
def test_who_sets_another_percentage_between_write_and_reading_back_has_the_last_word(
    emulator: Emulator, on_drift: Literal["stop", "adopt"]
) -> None:
    """The history shows that the raise was applied. So it does not wait for an approval."""
    flag_id = emulator.create_flag("search", enabled=True, rolloutPercentage=5, variants=[{"key": "on"}])["id"]
    operator = AmplitudeRampRolloutOperator(
        task_id="ramp", flag_key="search", stages=[1, 5, 25, 100], soak=0, on_drift=on_drift
    )
    stops = pytest.raises(AirflowFailException, match=r"the flag was changed from 25 % to 40 % by Maria")
    with after_the_raise(emulator, flag_id, {"rolloutPercentage": 40}), stops if on_drift == "stop" else nullcontext():
        operator.execute({})
    ours = [("Airflow", 100, True)] if on_drift == "adopt" else []
    assert exposed(emulator, flag_id) == [("Airflow", 25, True), ("Maria", 40, True), *ours]


@pytest.mark.parametrize("hers", [2, 5])
def test_who_changes_it_before_a_lost_write_is_repeated_has_the_last_word(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, hers: int
) -> None:
    """``5`` is the former percentage, so Maria has undone the raise."""
    operator, flag_id = ramp(emulator)
    emulator.fault("cut_after", route="PATCH /api/1/flags/{id}")

    def while_the_client_waits(_: object) -> float:
        emulator.edit("flags", flag_id, by="Maria", rolloutPercentage=hers)
        return 0.0

    monkeypatch.setattr(transport, "_BACKOFF", while_the_client_waits)
    with pytest.raises(
        AirflowFailException, match=rf"Maria changed it to {hers} % .* That change was restored. The rollout"
    ):
        operator.execute({})
    ours = [("Airflow", 25, True), ("Maria", hers, True), ("Airflow", 25, True), ("Airflow", hers, True)]
    assert exposed(emulator, flag_id) == ours
