"""Estimate the service's time from several clocks, any of which may be wrong.

Soaks use this time. A proxy can rewrite the ``Date`` of responses, and this machine's clock can be wrong by a day.
Neither may end a soak early. So a clock that differs from the others by minutes does not count. If it is unclear which
clock is wrong, the earliest counts: a soak then takes longer, never less.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

from airflow_provider_ampexp.client._timestamps import format_timestamp

_log = logging.getLogger(__name__)
_SECOND = timedelta(seconds=1)
_SANE_YEARS = range(1970, 9000)

CLOCKS_AGREE_WITHIN = timedelta(minutes=6)
"""The maximum difference between two clocks that agree."""


@dataclass(frozen=True)
class ClockSources:
    """The clocks at one moment. Each may be ``None``.

    :param date: the newest ``Date``, advanced to this moment
    :param steady: the ``Date`` of earlier responses, advanced by this machine's monotonic clock
    :param local: this machine's clock
    :param corrected: this machine's clock minus its known error
    :param not_before: the time of the newest version that was read
    :param not_after: an upper bound, from a version that was made a moment ago
    """

    date: datetime | None
    local: datetime
    steady: datetime | None = None
    corrected: datetime | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True)
class ClockEstimate:
    """The estimated time, and the clocks that do not count."""

    now: datetime
    doubted: tuple[str, ...] = ()


DATE = "the Date of the service's responses"
LOCAL = "this machine's clock"


def which_clock(seen: ClockSources) -> ClockEstimate | None:
    """Return the estimated time of the service; ``None`` before the first ``Date``.

    The first match wins:

    1. There is no ``Date``: unknown.
    2. All clocks are behind the newest version: the latest of them.
    3. ``Date`` fits the versions, and agrees with this machine's clock, raw or corrected: ``Date``.
    4. ``Date`` fits a version that was made a moment ago: ``Date``.
    5. A version was made a moment ago, and no clock fits it: the version's time, advanced.
    6. The earliest clock that fits the versions.
    """
    if seen.date is None:
        return None
    clocks = [clock for clock in (seen.date, seen.steady, seen.local, seen.corrected) if clock is not None]
    fitting = [clock for clock in clocks if _is_late_enough(clock, seen) and _is_early_enough(clock, seen)]
    agrees = _agree(seen.date, seen.local) or (seen.corrected is not None and _agree(seen.date, seen.corrected))
    if not any(_is_late_enough(clock, seen) for clock in clocks):
        now = max(clocks)
    elif seen.date in fitting and (agrees or seen.not_after is not None):
        now = seen.date
    elif seen.not_before is not None and (seen.not_after is not None or not fitting):
        now = min([seen.not_before, *fitting])
    else:
        now = min(fitting)
    told = ((DATE, seen.date), (LOCAL, seen.local))
    return ClockEstimate(now, tuple(name for name, clock in told if not _agree(clock, now)))


def _is_late_enough(clock: datetime, seen: ClockSources) -> bool:
    return seen.not_before is None or clock >= seen.not_before - CLOCKS_AGREE_WITHIN


def _is_early_enough(clock: datetime, seen: ClockSources) -> bool:
    return seen.not_after is None or clock <= seen.not_after + CLOCKS_AGREE_WITHIN


def _agree(one: datetime, other: datetime) -> bool:
    return abs(one - other) <= CLOCKS_AGREE_WITHIN


class ServiceClock:
    """One client's estimate of the service's clock. It advances between responses.

    A ``Date`` has whole seconds, so the service's time is within the second after it. The clock starts at the beginning
    of that second. Each response moves the clock into the second of its ``Date``, if necessary.

    :param address: the service's address, for a warning
    """

    def __init__(self, address: str = "") -> None:
        self._address = address
        self._date: _Running | None = None
        self._steady: _Running | None = None
        self._not_before: _Running | None = None
        self._not_after: _Running | None = None
        self._newest: dict[Hashable, tuple[datetime, float]] = {}
        self._shift = timedelta(0)
        self._warned: tuple[str, ...] = ()

    def heard(self, date: datetime | None, shift: timedelta = timedelta(0)) -> None:
        """Note the ``Date`` of a response.

        :param shift: the time by which the service has moved its clock on purpose, as the emulator does
        """
        if abs(shift - self._shift) > _SECOND:  # earlier values do not apply to a clock that was moved
            self._date = self._steady = self._not_before = self._not_after = None
            self._newest.clear()
        self._shift = shift
        if date is None:
            return
        running = self._date.now() if self._date else None
        self._date = _Running(date if running is None or not date <= running < date + _SECOND else running)
        if self._steady is None or self._date.now() < self._steady.now() or self._is_local():
            self._steady = self._date

    def read_history(self, of: Hashable, newest: datetime | None) -> None:
        """Note a history, whose newest version bounds the service's time.

        :param of: identifies the history
        :param newest: the time of its newest version
        """
        if newest is None or newest.year not in _SANE_YEARS:
            self._newest.pop(of, None)
            return
        known, read_at = self._newest.get(of), time.monotonic()
        self._newest[of] = newest, read_at
        if self._not_before is None or self._not_before.now() < newest:
            self._not_before = _Running(newest, read_at)
        if known is not None and known[0] < newest and read_at - known[1] <= CLOCKS_AGREE_WITHIN.total_seconds():
            self._not_after = _Running(newest, known[1])

    def now(self, local_error: timedelta | None = None) -> datetime | None:
        """Return the service's time; ``None`` before the first ``Date``.

        :param local_error: the time by which this machine's clock is ahead, from an earlier client
        """
        local = datetime.now(timezone.utc) + self._shift
        error = self.local_error if self.local_error is not None else local_error
        belief = which_clock(
            ClockSources(
                date=self._date.now() if self._date else None,
                steady=self._steady.now() if self._steady else None,
                local=local,
                corrected=None if error is None else local - error,
                not_before=self._not_before.now() if self._not_before else None,
                not_after=self._not_after.now() if self._not_after else None,
            )
        )
        if belief is None:
            return None
        self._warn(belief, local)
        return belief.now

    @property
    def local_error(self) -> timedelta | None:
        """The time by which this machine's clock is ahead of the service's; ``None`` until a new version was seen."""
        if self._not_before is None or self._not_after is None:
            return None
        return datetime.now(timezone.utc) + self._shift - self._not_before.now()

    def _is_local(self) -> bool:
        assert self._date is not None
        return _agree(self._date.now(), datetime.now(timezone.utc) + self._shift)

    def _warn(self, belief: ClockEstimate, local: datetime) -> None:
        if belief.doubted and belief.doubted != self._warned:
            _log.warning(
                "Ignoring %s. The service's responses say %s, this machine's clock says %s. Soaks use %s, the earliest "
                "time that fits the version history. Check the proxies on the way to %s, and the time synchronisation "
                "of this machine.",
                " and ".join(belief.doubted),
                format_timestamp(self._date.now() if self._date else None),
                format_timestamp(local),
                format_timestamp(belief.now),
                self._address or "Amplitude",
            )
        self._warned = belief.doubted


class _Running:
    """A time that advances with this machine's monotonic clock."""

    def __init__(self, moment: datetime, since: float | None = None) -> None:
        self._moment = moment
        self._since = time.monotonic() if since is None else since

    def now(self) -> datetime:
        return self._moment + timedelta(seconds=time.monotonic() - self._since)


@lru_cache(maxsize=4)  # all responses of a second have the same Date
def parse_date(value: str | None) -> datetime | None:
    """Return an HTTP date in UTC; ``None`` if it is invalid."""
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return moment if moment.year in _SANE_YEARS else None
