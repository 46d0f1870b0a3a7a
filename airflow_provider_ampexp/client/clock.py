"""The service's own clock, as the ``Date`` of its answers tells it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

_SECOND = timedelta(seconds=1)


class ServiceClock:
    """A clock that runs on between answers, and is not ahead of the service's.

    A ``Date`` names the second, so the service's time lies within the second that follows it. The clock is set to the
    beginning of that second and runs on; with each answer it is moved, if need be, into the second that it names.
    """

    def __init__(self) -> None:
        self._set_to: datetime | None = None
        self._set_at = 0.0

    def heard(self, date: datetime | None) -> None:
        """An answer said that it is ``date``, to the second."""
        if date is None:
            return
        running = self.now()
        self._set_at = time.monotonic()
        self._set_to = date if running is None or not date <= running < date + _SECOND else running

    def now(self) -> datetime | None:
        """The service's time; ``None`` before it was heard."""
        if self._set_to is None:
            return None
        return self._set_to + timedelta(seconds=time.monotonic() - self._set_at)


@lru_cache(maxsize=4)  # all answers of a second say the same
def parse_date(value: str | None) -> datetime | None:
    """A moment as HTTP writes it; ``None`` when it is none."""
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
