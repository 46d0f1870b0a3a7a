"""A simple implementation of a wait: each trigger polls alone, with its own client."""

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
    """Look up the connection once for all triggers.

    Each look-up sends the connection's secrets to the supervisor of the triggerer, which masks them in logs. The
    supervisor reads one message between two rounds through all triggers. A thousand look-ups take many minutes, in
    which no trigger polls.
    """
    return AmplitudeExperimentHook().fields


class OwnPollTrigger(BaseTrigger):
    """Read one flag repeatedly, until it is rolled out."""

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
