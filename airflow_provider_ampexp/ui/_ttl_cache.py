"""A cache of what was read: one caller refreshes a value, and all others are served meanwhile.

The cache lives in the event loop of Airflow's API server. What blocks runs in a few threads of the page's own, so a
slow Amplitude never takes a thread from Airflow's API.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachetools import TTLCache

_T = TypeVar("_T")

MOST_BYTES = 32 * 1024 * 1024
STALE_FOR = 300.0
PATIENCE = 10.0
STALE_PATIENCE = 2.0


class SlowResponseError(Exception):
    """Amplitude has not answered in time, and no earlier answer is kept."""


@dataclass(frozen=True)
class _Entry(Generic[_T]):
    """One answer, or the error that stands in its place.

    :param read_at: when it was read, on the cache's clock
    :param size: how many bytes the answer has as JSON
    """

    read_at: float
    size: int
    value: _T | None = None
    error: Exception | None = None

    def result(self) -> _T:
        if self.error is not None:
            raise self.error.with_traceback(None)
        value: Any = self.value
        return value  # type: ignore[no-any-return]


class TtlCache(Generic[_T]):
    """Reads a value once and keeps it. Callers at the same time share one read.

    An error is kept like a value, so that a failing service is not asked more often than a healthy service. While a
    value is read again, the old one is served to a reader who would wait longer than ``STALE_PATIENCE``.

    :param seconds: how long a value is fresh
    :param run: runs a blocking function in a thread and returns its result
    :param most_bytes: how many bytes are kept in all, as JSON; the value that expires first is dropped first
    :param clock: seconds that only rise
    """

    def __init__(
        self,
        seconds: float,
        run: Callable[..., Any],
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._run = run
        self._clock = clock
        self._most_bytes = most_bytes
        self._entries: Any = TTLCache(most_bytes, seconds + STALE_FOR, timer=clock, getsizeof=lambda entry: entry.size)
        self._reading: dict[Hashable, asyncio.Task[_Entry[_T]]] = {}

    @property
    def bytes_kept(self) -> int:
        """How many bytes are kept now, as JSON."""
        self._entries.expire()
        return int(self._entries.currsize)

    async def get(self, key: Hashable, read: Callable[[], _T]) -> _T:
        """Return what is kept under this key, or what ``read`` returns.

        :raises SlowResponseError: when ``read`` takes longer than ``PATIENCE`` and nothing is kept
        """
        entry: _Entry[_T] | None = self._entries.get(key)
        if entry is not None and self._clock() < entry.read_at + self.seconds:
            return entry.result()
        if entry is not None and entry.error is not None:
            entry = None  # an old error is no answer to serve
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.ensure_future(self._refresh(key, read))
        done, _ = await asyncio.wait({reading}, timeout=PATIENCE if entry is None else STALE_PATIENCE)
        if done:
            return reading.result().result()
        if entry is None:
            raise SlowResponseError(
                f"Reading Amplitude failed: no answer within {PATIENCE:g} s. "
                "Nothing is shown yet. The page tries again in 30 s."
            )
        return entry.result()

    async def _refresh(self, key: Hashable, read: Callable[[], _T]) -> _Entry[_T]:
        try:
            entry = await self._run(self._read, read)
            if entry.size <= self._most_bytes:  # a larger value is served once and not kept
                self._entries[key] = entry
            return entry  # type: ignore[no-any-return]
        finally:
            del self._reading[key]

    def _read(self, read: Callable[[], _T]) -> _Entry[_T]:
        try:
            value = read()
        except Exception as error:
            return _Entry(self._clock(), 1_000, error=error)
        return _Entry(self._clock(), len(json.dumps(value, default=_fields)), value)


def _fields(value: object) -> object:
    """A dataclass as its fields, and everything else as its text, for its length alone."""
    return getattr(value, "__dict__", None) or str(value)
