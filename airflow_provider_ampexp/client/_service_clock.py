"""What time it is at the service, from several witnesses of which any may be wrong.

Soaks are counted on this clock. A proxy may rewrite the ``Date`` of answers, and this machine's clock may be off by a
day; neither may end a soak early. So a witness that the others contradict by minutes is not believed, and where it is
unclear which one is wrong the earliest counts: a soak then takes longer, never less.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

_log = logging.getLogger(__name__)
_SECOND = timedelta(seconds=1)
_SHOWN = "%Y-%m-%d %H:%M:%SZ"
_SANE_YEARS = range(1970, 9000)

CLOCKS_AGREE_WITHIN = timedelta(minutes=6)
"""Two clocks that differ by no more are taken to tell the same time."""


@dataclass(frozen=True)
class ClockSources:
    """What is known of the service's time at one moment. Each may be ``None``.

    :param date: what the newest ``Date`` says, run on to this moment
    :param steady: what the ``Date`` of earlier answers says, run on by this machine's monotonic clock
    :param local: this machine's clock
    :param corrected: this machine's clock less its known error
    :param not_before: the newest version that was read was made then or earlier
    :param not_after: a version that was not there a moment ago was made since then, so it is hardly later
    """

    date: datetime | None
    local: datetime
    steady: datetime | None = None
    corrected: datetime | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True)
class ClockEstimate:
    """What time it is, and which clocks are not believed."""

    now: datetime
    doubted: tuple[str, ...] = ()


DATE = "the Date of the service's answers"
LOCAL = "this machine's clock"


def which_clock(seen: ClockSources) -> ClockEstimate | None:
    """Decide what time it is at the service; ``None`` when it has not told its time yet.

    The first that applies:

    1. No ``Date`` was heard: unknown.
    2. All clocks are behind the newest version: the latest of them. It is still early, and it goes on.
    3. ``Date`` fits the versions, and agrees with this machine's clock, raw or corrected: ``Date``.
    4. ``Date`` fits a version that was made a moment ago: ``Date``.
    5. A version was made a moment ago, and no clock fits it: the version, run on.
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
    """The service's clock, as one client comes to know it. It runs on between answers.

    A ``Date`` names the second, so the service's time lies within the second that follows it. The clock is set to the
    beginning of that second and runs on; with each answer it is moved, if need be, into the second that it names.

    :param address: where the service is, for a warning
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
        """An answer said that it is ``date``, to the second.

        :param shift: how far the service has moved its clock on purpose, as the emulator does
        """
        if abs(shift - self._shift) > _SECOND:  # what was known before does not hold for a clock that was moved
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
        """A history was read. It bounds the service's time: its newest version is made, and was not made before.

        :param of: which history
        :param newest: when its newest version was made
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
        """The service's time; ``None`` before it was heard.

        :param local_error: how far this machine's clock is ahead, as an earlier client found
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
        """How far this machine's clock is ahead of the service's; ``None`` until a version was seen to be made."""
        if self._not_before is None or self._not_after is None:
            return None
        return datetime.now(timezone.utc) + self._shift - self._not_before.now()

    def _is_local(self) -> bool:
        assert self._date is not None
        return _agree(self._date.now(), datetime.now(timezone.utc) + self._shift)

    def _warn(self, belief: ClockEstimate, local: datetime) -> None:
        if belief.doubted and belief.doubted != self._warned:
            names = " and ".join(belief.doubted)
            _log.warning(
                "%s: not believed. The service's answers say that it is %s, this machine's clock says %s. Soaks count "
                "on %s, the earliest time that fits the version history. Check the proxies on the way to %s, and the "
                "time synchronisation of this machine.",
                names[0].upper() + names[1:],
                f"{self._date.now():{_SHOWN}}" if self._date else "an unknown time",
                f"{local:{_SHOWN}}",
                f"{belief.now:{_SHOWN}}",
                self._address or "Amplitude",
            )
        self._warned = belief.doubted


class _Running:
    """A moment that runs on with this machine's monotonic clock."""

    def __init__(self, moment: datetime, since: float | None = None) -> None:
        self._moment = moment
        self._since = time.monotonic() if since is None else since

    def now(self) -> datetime:
        return self._moment + timedelta(seconds=time.monotonic() - self._since)


@lru_cache(maxsize=4)  # all answers of a second say the same
def parse_date(value: str | None) -> datetime | None:
    """A moment as HTTP writes it, in UTC; ``None`` when it is none."""
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return moment if moment.year in _SANE_YEARS else None
