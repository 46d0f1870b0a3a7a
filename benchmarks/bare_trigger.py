"""A trigger that only sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class BareTrigger(BaseTrigger):
    """Sleep until a time, and return that time in the event.

    :param until: the time, in seconds since 1970
    """

    def __init__(self, *, until: float) -> None:
        super().__init__()
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.bare_trigger.BareTrigger", {"until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(self.until - time.time())
        yield TriggerEvent(self.until)
