"""When a rollout may raise: days, wall times, a time zone, and dates left out."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WALL_TIME = r"([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00"
_WHOLE_DAY = 24 * 60
_YEAR = timedelta(days=366)
_OF_THIS_MACHINE = ("localtime", "posixrules", "posix/", "right/")


@dataclass(frozen=True)
class ChangeWindow:
    """The hours in which a rollout may raise. Rollbacks do not ask it.

    It goes by the clock on the wall: it is open exactly while a clock in ``timezone`` shows a time from ``start`` up
    to, and not including, ``end``, on a day it opens. So when the clocks change

    * forward, a ``start`` in the hour that is skipped opens it at the first moment after that hour, and an ``end`` in
      it closes it when the hour begins. With both in the hour it does not open that day;
    * back, the hour that comes twice counts twice. It opens when ``start`` is first shown. Between the two showings it
      is open only while the clock shows a time inside: "02:30" to "04:00" is closed from the second 02:00 to 02:30.

    Equal windows are equal, whichever way they were written: the fields are kept in one form.

    :param days: on which it opens: ``"Mon-Thu"``, ``"Mon, Wed"``, ``"Fri-Mon"`` (over the weekend), or a list of such
    :param start: the wall time at which it opens, in whole minutes: ``"09:00"`` or a ``datetime.time``
    :param end: the wall time at which it closes. Before ``start`` it is that of the next day: ``"22:00"`` to
        ``"04:00"`` on ``"Mon"`` ends on Tuesday. ``"24:00"`` and ``"00:00"`` are the midnight at the end of the day, so
        ``"00:00"`` to either is a whole day. Any other ``end`` that equals ``start`` is refused.
    :param timezone: an IANA name such as ``"Europe/Berlin"``
    :param except_dates: dates left out, ISO texts or ``datetime.date``. On such a date it is closed from midnight to
        midnight, also for what opened the evening before; and it does not open, so the part after the next midnight
        falls away as well. Default: none.
    :raises InvalidInputError: which names the field
    """

    days: str | Collection[str]
    start: str | time
    end: str | time
    timezone: str
    except_dates: Collection[str | date] = ()

    def __post_init__(self) -> None:
        start, end = _minutes("start", self.start), _minutes("end", self.end) or _WHOLE_DAY
        if start == _WHOLE_DAY:
            raise InvalidInputError("start", "'24:00' is the end of a day; a day starts at '00:00'")
        if start == end:
            raise InvalidInputError("end", f"{_text(end)!r} is the start as well; a whole day is '00:00' to '24:00'")
        object.__setattr__(self, "days", _days(self.days))
        object.__setattr__(self, "start", _text(start))
        object.__setattr__(self, "end", _text(end))
        _zone(self.timezone)
        object.__setattr__(self, "except_dates", _dates(self.except_dates))

    def is_open(self, moment: datetime) -> bool:
        """Whether a rollout may raise at this moment.

        :param moment: with a time zone, any
        :raises InvalidInputError: for a moment without one
        """
        wall = self._wall(moment)
        start, end = _minutes("start", self.start), _minutes("end", self.end)
        minute, today = wall.hour * 60 + wall.minute, wall.date()
        if start < end:
            return start <= minute < end and self._opens_on(today)
        if minute >= start:
            return self._opens_on(today)
        return minute < end and self._opens_on(today - timedelta(days=1)) and today.isoformat() not in self.except_dates

    def next_open(self, moment: datetime) -> datetime:
        """The first moment from this one on at which it is open, in UTC: the moment itself when it is open.

        :param moment: with a time zone, any
        :raises InvalidInputError: for a moment without one; and when it is never open in the next 366 days
        """
        found = self._first(moment, is_open=True)
        if found is None:
            raise InvalidInputError("window", f"never opens in the year after {self.shown(moment)}")
        return found

    def closes(self, moment: datetime) -> datetime | None:
        """The first moment after this one at which it is closed, in UTC. ``None`` if there is none in 366 days.

        :param moment: with a time zone, any; the window is open then
        :raises InvalidInputError: for a moment without one, or one at which the window is closed
        """
        if not self.is_open(moment):
            raise InvalidInputError("moment", f"the window is not open on {self.shown(moment)}")
        return self._first(moment, is_open=False)

    def shown(self, moment: datetime) -> str:
        """The moment for people, to the minute: ``"Mon 2026-03-30 09:00 Europe/Berlin (07:00 UTC)"``.

        The UTC time has its date where that is another one. Two moments of the hour that comes twice differ in it.
        """
        wall, utc = self._wall(moment), moment.astimezone(timezone.utc)
        days = [f"{_DAYS[moment.weekday()]} {moment.date().isoformat()} " for moment in (wall, utc)]
        its_day = days[1] if days[1] != days[0] else ""
        return f"{days[0]}{wall:%H:%M} {self.timezone} ({its_day}{utc:%H:%M} UTC)"

    def _wall(self, moment: datetime) -> datetime:
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise InvalidInputError("moment", f"{moment!r} is not a datetime with a time zone")
        return moment.astimezone(_zone(self.timezone))

    def _opens_on(self, day: date) -> bool:
        return _DAYS[day.weekday()] in self.days and day.isoformat() not in self.except_dates

    def _first(self, moment: datetime, *, is_open: bool) -> datetime | None:
        """Go from edge to edge: between two of them nothing opens or closes."""
        at = self._wall(moment).astimezone(timezone.utc)
        last = at + _YEAR
        while self.is_open(at) is not is_open:
            at = self._edge_after(at)
            if at > last:
                return None
        return at

    def _edge_after(self, at: datetime) -> datetime:
        """Where the wall clock next shows the start, the end or midnight, or is changed, whichever comes first."""
        wall = self._wall(at)
        minute, second = wall.hour * 60 + wall.minute, at.replace(microsecond=0)
        edges = _minutes("start", self.start), _minutes("end", self.end), _WHOLE_DAY
        minutes = min(edge for edge in edges if edge > minute) - minute

        def changed(ahead: int) -> bool:
            return self._wall(second + timedelta(seconds=ahead)).utcoffset() != wall.utcoffset()

        # Clocks are changed on a whole second, and not twice in a day: halving finds it, or ends at the edge.
        seconds = range(1, minutes * 60 - wall.second)
        return second + timedelta(seconds=1 + bisect_left(seconds, True, key=changed))


def _text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _minutes(field: str, value: object) -> int:
    """A wall time as minutes after midnight, 0 to 1440."""
    if isinstance(value, time) and value.tzinfo is None and value == value.replace(second=0, microsecond=0):
        return value.hour * 60 + value.minute
    if not isinstance(value, str) or not re.fullmatch(_WALL_TIME, value):
        hint = "; in YAML it needs quotes" if isinstance(value, int) else ""
        raise InvalidInputError(field, f"{value!r} is not a wall time of hours and minutes such as '09:00'{hint}")
    return int(value[:-3]) * 60 + int(value[-2:])


def _days(value: object) -> tuple[str, ...]:
    """The days named, each once, from Monday on."""
    named: set[int] = set()
    for text in [value] if isinstance(value, str) else validate.items("days", value):
        for part in text.split(",") if isinstance(text, str) else [repr(text)]:
            ends = [place for name in part.split("-") for place, day in enumerate(_DAYS) if name.strip().title() == day]
            if len(ends) != part.count("-") + 1 or len(ends) > 2 or (len(ends) == 2 and ends[0] == ends[1]):
                raise InvalidInputError("days", f"{part!r} is not a day or days such as 'Mon' or 'Mon-Thu'")
            named.update((ends[0] + step) % 7 for step in range((ends[-1] - ends[0]) % 7 + 1))
    if not named:
        raise InvalidInputError("days", "expected at least one day, got none")
    return tuple(_DAYS[place] for place in sorted(named))


def _dates(value: object) -> tuple[str, ...]:
    """The dates as ISO texts, each once, in their order."""
    found = set()
    for place, day in enumerate(validate.items("except_dates", value)):
        text = day.isoformat() if isinstance(day, date) else day
        try:
            if not isinstance(text, str) or date.fromisoformat(text).isoformat() != text:
                raise ValueError
        except ValueError:
            raise InvalidInputError(f"except_dates[{place}]", f"{day!r} is not a date such as '2026-12-24'") from None
        found.add(text)
    return tuple(sorted(found))


def _zone(name: object) -> ZoneInfo:
    """The zone of this name, which ``zoneinfo`` keeps after the first time."""
    if isinstance(name, str) and name and not name.startswith(_OF_THIS_MACHINE):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" alone is a folder
            pass
    raise InvalidInputError("timezone", f"{name!r} is not an IANA time zone such as 'Europe/Berlin'")
