"""A sensor waits in the same way in each mode: poke, reschedule, deferred, and started in the triggerer."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.triggers.base import TaskSuccessEvent

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import _refusals
from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.polling import _shared_poller as shared_poller
from airflow_provider_ampexp.sensors.rollout import AmplitudeEnabledSensor
from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger

MODES = ("poke", "reschedule", "deferred", "begun in the triggerer")
HOLD = {"poke": {"mode": "poke"}, "reschedule": {"mode": "reschedule"}}
IS_OVER_SOON = 10.0  # seconds, on a busy machine; a wait for final refusals would take 300 s

in_all_modes = pytest.mark.parametrize("mode", MODES)
ENDINGS = {
    "plain": ({}, None),
    "soft_fail": ({"soft_fail": True}, AirflowSkipException),
    "never_fail": ({"never_fail": True}, AirflowSkipException),
}


class TaskInstance:
    """The part of Airflow's task instance that a sensor uses."""

    def __init__(self) -> None:
        self.task: Any = None
        self.xcoms: dict[str, Any] = {}
        self.rescheduled_at: datetime | None = None

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.rescheduled_at


class Wait:
    """Run a sensor to its end as Airflow does in a mode. Each process has another object of the sensor."""

    def __init__(self, mode: str, **arguments: Any) -> None:
        self._mode = mode
        self._arguments = {"task_id": "wait", "poll_interval": 0.05, "timeout": 30, **arguments}
        self.ti = TaskInstance()

    @property
    def link(self) -> str:
        """Return the address of the task's link."""
        return str(self.ti.xcoms.get("amplitude_experiment_url", ""))

    def run(self) -> Any:
        """Run the sensor, and return the result of the task."""
        if self._mode == "begun in the triggerer":
            args: Any = self._sensor().start_trigger_args
            trigger = AmplitudeFlagStateTrigger(**json.loads(json.dumps(args.trigger_kwargs)))
            trigger.timeout_after = datetime.now(timezone.utc) + args.timeout
            return self._resumed(trigger)
        while True:
            try:
                return self._sensor().execute({"ti": self.ti})
            except AirflowRescheduleException as again:
                self.ti.rescheduled_at = self.ti.rescheduled_at or datetime.now(timezone.utc)
                time.sleep(max(0.0, (again.reschedule_date - datetime.now(timezone.utc)).total_seconds()))
            except TaskDeferred as deferred:
                _, kept = deferred.trigger.serialize()
                return self._resumed(AmplitudeFlagStateTrigger(**json.loads(json.dumps(kept))))

    def _sensor(self) -> AmplitudeEnabledSensor:
        how = HOLD.get(self._mode, {"deferrable": True})
        self.ti.task = AmplitudeEnabledSensor(**{**self._arguments, **how})
        return self.ti.task

    def _resumed(self, trigger: AmplitudeFlagStateTrigger) -> Any:
        event = asyncio.run(_only_event(trigger))
        if isinstance(event, TaskSuccessEvent):
            self.ti.xcoms.update(event.xcoms)
            return event.xcoms["return_value"]
        return self._sensor().resume_execution("resume", {"event": event.payload}, {"ti": self.ti})


async def _only_event(trigger: AmplitudeFlagStateTrigger) -> Any:
    (event,) = [event async for event in trigger.run()]
    return event


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between two failed polls."""
    monkeypatch.setattr(shared_poller, "_LONGEST_BACKOFF", 0.01)
    monkeypatch.setattr(_refusals, "_PAUSE", 0.05)


def new_flag(emulator: Emulator, **fields: Any) -> str:
    flag_id = str(emulator.create_flag("search", **{"variants": [{"key": "on"}], **fields})["id"])
    emulator.clear_requests()
    return flag_id


def after(looks: int, emulator: Emulator, act: Callable[[], object]) -> threading.Thread:
    """Let a person act after a number of polls."""

    def person() -> None:
        while emulator.requests()["total"] < looks:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=person)
    thread.start()
    return thread


def ends_with(wait: Wait, plain: type[Exception], ending: str) -> str:
    """Check the end of the wait, and return the message of the error; if the task is skipped, Airflow's own text."""
    with pytest.raises(ENDINGS[ending][1] or plain) as caught:
        wait.run()
    return str(caught.value)


@in_all_modes
def test_a_503_at_the_first_look_goes_on_waiting(impatient: Emulator, mode: str) -> None:
    flag_id = new_flag(impatient, enabled=True)
    impatient.fault("status", status=503)
    wait = Wait(mode, flag_key="search")

    assert wait.run()["id"] == flag_id
    assert wait.link.endswith(flag_id)


@in_all_modes
@pytest.mark.parametrize("seen_before", [0, 1])
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_for_a_moment_goes_on_waiting(
    impatient: Emulator, mode: str, seen_before: int, status: int
) -> None:
    flag_id = new_flag(impatient)
    impatient.fault("status", status=status, times=5, skip=seen_before)
    person = after(5 + seen_before, impatient, lambda: impatient.edit("flags", flag_id, enabled=True))

    assert Wait(mode, flag_id=flag_id).run()["id"] == flag_id
    person.join()


@in_all_modes
def test_a_key_that_is_refused_for_long_ends_the_wait(
    impatient: Emulator, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_refusals, "REFUSED_FOR", 0.3)
    flag_id = new_flag(impatient)
    impatient.fault("status", status=401, times=None, skip=1)

    assert "(401)" in ends_with(Wait(mode, flag_id=flag_id), AirflowFailException, "plain")


@in_all_modes
@pytest.mark.parametrize("ending", ENDINGS)
def test_archived_ends_the_wait_at_once(impatient: Emulator, mode: str, ending: str) -> None:
    flag_id = new_flag(impatient)
    person = after(1, impatient, lambda: impatient.edit("flags", flag_id, archive=True))
    began = time.monotonic()
    said = ends_with(Wait(mode, flag_id=flag_id, **ENDINGS[ending][0]), AirflowFailException, ending)
    person.join()

    assert time.monotonic() - began < IS_OVER_SOON
    assert "archived" in said or ending != "plain"


@in_all_modes
def test_gone_for_a_moment_goes_on_waiting(impatient: Emulator, mode: str) -> None:
    flag_id = new_flag(impatient)
    impatient.fault("status", status=404, times=4, skip=1)
    person = after(5, impatient, lambda: impatient.edit("flags", flag_id, enabled=True))

    assert Wait(mode, flag_id=flag_id).run()["id"] == flag_id
    person.join()


@in_all_modes
@pytest.mark.parametrize("ending", ENDINGS)
def test_gone_for_long_ends_the_wait(
    impatient: Emulator, mode: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_refusals, "REFUSED_FOR", 0.3)
    flag_id = new_flag(impatient)
    impatient.fault("status", status=404, times=None, skip=1)
    said = ends_with(Wait(mode, flag_id=flag_id, **ENDINGS[ending][0]), AirflowFailException, ending)

    assert f"flag {flag_id} does not exist" in said or ending != "plain"
    assert impatient.requests()["total"] > 2


@in_all_modes
def test_what_never_existed_fails_at_the_first_look(impatient: Emulator, mode: str) -> None:
    began = time.monotonic()
    assert "flag 999 does not exist" in ends_with(Wait(mode, flag_id="999"), AirflowFailException, "plain")
    assert time.monotonic() - began < IS_OVER_SOON
    assert impatient.requests()["total"] == 2  # an experiment of that id is also read, for the error


@in_all_modes
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_wait_that_timed_out_shows_its_link(impatient: Emulator, mode: str, ending: str) -> None:
    flag_id = new_flag(impatient)
    wait = Wait(mode, flag_id=flag_id, timeout=0.3, **ENDINGS[ending][0])
    said = ends_with(wait, AirflowSensorTimeout, ending)

    assert "it is disabled" in said or ending != "plain"
    assert wait.link.endswith(flag_id)


@in_all_modes
@pytest.mark.parametrize("seen_before", [0, 1])
@pytest.mark.parametrize("status", [401, 404])
def test_the_timeout_ends_a_wait_that_is_refused(impatient: Emulator, mode: str, seen_before: int, status: int) -> None:
    flag_id = new_flag(impatient)
    impatient.fault("status", status=status, times=None, skip=seen_before)
    began = time.monotonic()
    wait = Wait(mode, flag_id=flag_id, timeout=0.5)
    # A flag that is missing at the first poll looks like a flag that never existed.
    never_existed = status == 404 and not seen_before
    ends_with(wait, AirflowFailException if never_existed else AirflowSensorTimeout, "plain")

    assert time.monotonic() - began < IS_OVER_SOON


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "reschedule"])
@pytest.mark.parametrize("ending", ["plain", "soft_fail"])
def test_ten_failures_in_a_row_are_left_to_the_retries(impatient: Emulator, mode: str, ending: str) -> None:
    flag_id = new_flag(impatient)
    impatient.fault("status", status=503, times=None)
    with pytest.raises(AmplitudeTaskError, match="503"):
        Wait(mode, flag_id=flag_id, **ENDINGS[ending][0]).run()


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "reschedule"])
def test_ten_failures_in_a_row_skip_what_is_never_to_fail(impatient: Emulator, mode: str) -> None:
    flag_id = new_flag(impatient)
    impatient.fault("status", status=503, times=None)
    ends_with(Wait(mode, flag_id=flag_id, never_fail=True), AmplitudeTaskError, "never_fail")
