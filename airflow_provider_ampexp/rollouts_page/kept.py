"""Answers that are kept for a while, for all who ask."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


@dataclass
class _Place(Generic[_T]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: float = float("-inf")
    value: _T | None = None
    error: Exception | None = None


class Kept(Generic[_T]):
    """Asks once and keeps the answer. However many want it at the same time, one of them asks and the others wait.

    An error is kept like an answer, so that a service in trouble is not asked more often than one in health.

    :param seconds: for how long
    :param most: how many answers; the one that was wanted least recently goes first
    :param clock: seconds that only rise
    """

    def __init__(self, seconds: float, most: int = 200, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._places: OrderedDict[Hashable, _Place[_T]] = OrderedDict()

    def get(self, key: Hashable, ask: Callable[[], _T]) -> _T:
        """What is kept under this key, or else what ``ask`` answers."""
        place = self._place(key)
        with place.lock:
            if self._clock() >= place.until:
                place.value, place.error = None, None
                try:
                    place.value = ask()
                except Exception as error:
                    place.error = error
                place.until = self._clock() + self.seconds
            if place.error is not None:
                raise place.error.with_traceback(None)
            value: Any = place.value
            return value  # type: ignore[no-any-return]

    def _place(self, key: Hashable) -> _Place[_T]:
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > self._most:
                self._places.popitem(last=False)
            return place
