"""The wait as one writes it at first: a trigger that polls for itself, each with a client of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ampexp.hooks._connection import ConnectionFields
from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

_looked_up = asyncio.Lock()


@cache
def _connection() -> ConnectionFields:
    """Looked up once for all.

    Each look-up sends what is secret in it to the triggerer's other process, for its logs, which takes one message
    between two of its rounds through all triggers. A thousand look-ups take many minutes, in which nobody polls.
    """
    return AmplitudeExperimentHook().fields


class OwnPollTrigger(BaseTrigger):
    """Reads one flag again and again until it is rolled out."""

    def __init__(self, *, id: str, interval: float) -> None:
        super().__init__()
        self.id = id
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.own_poll.OwnPollTrigger", {"id": self.id, "interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async with _looked_up:
            connection = await asyncio.to_thread(_connection)
        with connection.connect() as client:
            while (await asyncio.to_thread(client.flags.get, self.id)).get("rolloutPercentage", 0) < 50:
                await asyncio.sleep(self.interval)
        yield TriggerEvent("met")
