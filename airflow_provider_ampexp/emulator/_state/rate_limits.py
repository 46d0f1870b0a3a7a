"""The limits of a project: 100 requests a second and 100,000 a day."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from airflow_provider_ampexp.emulator._state.clock import Clock
from airflow_provider_ampexp.emulator._state.errors import Refusal
from airflow_provider_ampexp.emulator._state.settings import Settings


class Limits:
    """Count the requests of each project. A refused request does not count."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._days: dict[str, tuple[str, int]] = {}

    def take(self, projects: Iterable[str], clock: Clock, settings: Settings) -> None:
        """Count one request for each of the projects, or raise a 429 and count nothing."""
        now, day = clock.now(), clock.day()
        names = list(projects)
        for name in names:
            counted_day, count = self._days.get(name, (day, 0))
            today = count if counted_day == day else 0
            if settings.rate_per_day is not None and today >= settings.rate_per_day:
                raise _too_many("day", clock.seconds_to_midnight(), settings)
            recent = self._recent.setdefault(name, deque())
            # A sliding window: no period of one second may have more. A clock that was moved back empties it.
            while recent and not now - 1 < recent[0] <= now:
                recent.popleft()
            if settings.rate_per_second is not None and len(recent) >= settings.rate_per_second:
                raise _too_many("second", 1, settings)
            self._days[name] = (day, today)
        for name in names:
            self._recent[name].append(now)
            self._days[name] = (day, self._days[name][1] + 1)


def _too_many(span: str, seconds: int, settings: Settings) -> Refusal:
    headers = {"Retry-After": str(seconds)} if settings.retry_after else {}
    return Refusal(429, f"Too many requests: the project's limit for one {span} is reached.", headers)
