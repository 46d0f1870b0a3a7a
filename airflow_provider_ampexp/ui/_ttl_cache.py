"""A cache of results: one caller refreshes a value, and all other callers get the value before.

The cache is in the event loop of Airflow's API server. Blocking calls run in a few threads of the page, so a slow
Amplitude never uses a thread of Airflow's API.
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
    """Amplitude sent no response in time, and the cache has no earlier value."""


@dataclass(frozen=True)
class _Entry(Generic[_T]):
    """One value, or the error of the attempt to read it.

    :param read_at: when it was read, on the cache's clock
    :param size: the number of bytes of the value as JSON
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
    """Read a value once and keep it. Callers at the same time share one read.

    An error is kept like a value, so that a failing service gets no more requests than a healthy service. During a new
    read, a caller who would wait longer than ``STALE_PATIENCE`` gets the old value.

    :param seconds: how long a value is fresh
    :param run: runs a blocking function in a thread and returns its result
    :param most_bytes: the limit for all values together, in bytes of JSON. The value that expires first is dropped
        first.
    :param clock: a monotonic clock in seconds
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
        """The number of bytes of all values now, as JSON."""
        self._entries.expire()
        return int(self._entries.currsize)

    async def get(self, key: Hashable, read: Callable[[], _T]) -> _T:
        """Return the value of a key, or the result of ``read``.

        :raises SlowResponseError: when ``read`` takes longer than ``PATIENCE`` and the key has no value
        """
        entry: _Entry[_T] | None = self._entries.get(key)
        if entry is not None and self._clock() < entry.read_at + self.seconds:
            return entry.result()
        if entry is not None and entry.error is not None:
            entry = None  # an old error is not served
        reading = self._reading.get(key)
        if reading is None:
            reading = self._reading[key] = asyncio.ensure_future(self._refresh(key, read))
        done, _ = await asyncio.wait({reading}, timeout=PATIENCE if entry is None else STALE_PATIENCE)
        if done:
            return reading.result().result()
        if entry is None:
            raise SlowResponseError(
                f"Reading Amplitude failed: no response within {PATIENCE:g} s. "
                "Nothing is shown yet. The page retries in 30 s."
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
    """Return the fields of a dataclass, and any other value as text. Only the length of the JSON matters."""
    return getattr(value, "__dict__", None) or str(value)
