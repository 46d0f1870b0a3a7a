"""The wait as one writes it at first: a trigger that polls for itself, each with a client of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook


class OwnPollTrigger(BaseTrigger):
    """Reads one flag again and again until it is rolled out."""

    def __init__(self, *, id: str, interval: float) -> None:
        super().__init__()
        self.id = id
        self.interval = interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.own_poll.OwnPollTrigger", {"id": self.id, "interval": self.interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        with AmplitudeExperimentHook() as hook:
            client = await asyncio.to_thread(lambda: hook.client)
            while (await asyncio.to_thread(client.flags.get, self.id)).get("rolloutPercentage", 0) < 50:
                await asyncio.sleep(self.interval)
        yield TriggerEvent("met")
