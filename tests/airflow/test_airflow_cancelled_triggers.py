"""Airflow cancels a trigger once, for example when the triggerer stops, at any time of a poll."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.polling import _flag_watch as flag_watch
from airflow_provider_ampexp.polling._conditions import EnabledIs, as_plain
from airflow_provider_ampexp.triggers import flag_state
from airflow_provider_ampexp.triggers.flag_changed import AmplitudeFlagChangedTrigger
from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger

PATIENCE = 15.0
TURNS = range(6)
"""After a poll shows the flag, the result takes some turns of the event loop to reach the trigger."""


class Store:
    async def aget(self, key: str, default: Any = None) -> Any:
        return 1

    async def aset(self, key: str, value: Any) -> None: ...


def cancel_after(turns: int, task: asyncio.Task[Any], is_cancelled: list[bool]) -> None:
    """Cancel the task in a later turn of the loop, and note whether it still ran."""
    if turns:
        asyncio.get_running_loop().call_soon(cancel_after, turns - 1, task, is_cancelled)
    else:
        is_cancelled.append(task.cancel())


async def collect(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("kind", ["watcher", "sensor"])
def test_a_trigger_that_is_cancelled_ends(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, kind: str, turns: int
) -> None:
    flag = emulator.create_flag("search", rolloutPercentage=1)
    trigger: Any
    if kind == "watcher":
        trigger = AmplitudeFlagChangedTrigger(flag_key="search", poll_interval=0.1)
        trigger.asset_state_store = Store()
        subscriber: Any = flag_watch._Watch
    else:
        trigger = AmplitudeFlagStateTrigger(
            amplitude_conn_id="amplitude_experiment_default",
            kind="flags",
            id=flag["id"],
            condition=as_plain(EnabledIs(False)),
            poll_interval=0.1,
            deadline=time.time() + 60,
            failures=3,
        )
        subscriber = flag_state._Wait

    async def story() -> None:
        running = asyncio.create_task(collect(trigger.run()))
        saw = subscriber.saw
        is_cancelled: list[bool] = []

        def saw_and_cancelled(wait: Any, *seen: Any) -> Any:
            cancel_after(turns, running, is_cancelled)
            return saw(wait, *seen)

        monkeypatch.setattr(subscriber, "saw", saw_and_cancelled)
        await asyncio.wait({running}, timeout=PATIENCE)
        assert running.done(), "the trigger runs on"
        assert running.cancelled() is is_cancelled[0]

    asyncio.run(story())
