"""Watch a flag for as long as the caller likes, on the shared poll of its connection."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.exceptions import is_retryable
from airflow_provider_ampexp.polling._shared_poller import Event, poll_until
from airflow_provider_ampexp.polling._time_limit import wait_at_most

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig
    from airflow_provider_ampexp.ensure._flag_ref import FlagRef

REJOIN_AFTER = 300.0
"""Seconds after which a watch joins the poll again, so that an edited connection counts."""

_PAUSE_AFTER_REFUSAL = 60.0
_log = logging.getLogger(__name__)


async def watch_flag(amplitude_conn_id: str, target: FlagRef, poll_interval: float) -> AsyncIterator[FlagConfig]:
    """Yield the flag after each poll that shows it, and again after each ``poll_interval`` without one.

    It ends with the caller. An error of the service is logged once, and polling continues.
    """
    watch = _Watch(target, poll_interval)
    poll = asyncio.create_task(_poll_forever(amplitude_conn_id, watch))
    try:
        while not poll.done():
            await watch.wait()
            if watch.config is not None:
                yield watch.config
        await poll
    finally:
        poll.cancel()


async def _poll_forever(amplitude_conn_id: str, watch: _Watch) -> None:
    while True:
        try:
            await wait_at_most(REJOIN_AFTER, poll_until(amplitude_conn_id, watch))
        except asyncio.TimeoutError:
            continue


class _Watch:
    """A subscriber of the shared poll whose wait never ends."""

    def __init__(self, target: FlagRef, poll_interval: float) -> None:
        self.target = target
        self.interval = self._interval = poll_interval
        self.config: FlagConfig | None = None
        self._is_seen = asyncio.Event()
        self._logged: str | None = None

    async def wait(self) -> None:
        """Wait for a poll that shows the flag, or for the interval."""
        try:
            await wait_at_most(self._interval, self._is_seen.wait())
        except asyncio.TimeoutError:
            return
        self._is_seen.clear()

    def seconds_left(self, now: datetime) -> float:
        return math.inf

    def saw(self, config: FlagConfig, client: ManagementClient) -> Event | None:
        self.config = config
        self.interval = self._interval
        self._logged = None
        self._is_seen.set()
        return None

    def failed(self, error: Exception) -> Event | None:
        # A flag that does not exist yet may be created at any time.
        if not is_retryable(error) and not isinstance(error, TargetNotFoundError):
            self.interval = max(self._interval, _PAUSE_AFTER_REFUSAL)
        text = f"{type(error).__name__}: {error}"
        if text != self._logged:
            _log.error("Polling of %s failed; polling continues. %s", self.target, text)
        self._logged = text
        return None
