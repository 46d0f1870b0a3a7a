"""The change window: its refusals, the nights on which clocks change, and properties in all time zones."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._change_window import ChangeWindow

UTC = timezone.utc
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MINUTE = timedelta(minutes=1)
# Zones with changes at midnight, of half an hour and of two hours, a skipped day, and changes for Ramadan.
ODD_ZONES = [
    *("Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/Nuuk"),
    *("America/Scoresbysund", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Kathmandu", "Asia/Pyongyang"),
    *("Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Chatham", "UTC"),
]
ALL_ZONES = sorted(available_timezones() - {"localtime", "posixrules"})


def at(text: str) -> datetime:
    """Return a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def oracle(window: ChangeWindow, moment: datetime) -> bool:
    """Return true if the wall-clock time is within the window that opened today or yesterday."""
    wall = moment.astimezone(ZoneInfo(window.timezone)).replace(tzinfo=None)
    left_out = {date.fromisoformat(str(day)) for day in window.except_dates}
    if wall.date() in left_out:
        return False
    for opening in (wall.date(), wall.date() - timedelta(days=1)):
        if opening in left_out or DAYS[opening.weekday()] not in window.days:
            continue
        start = datetime.combine(opening, time.fromisoformat(str(window.start)))
        end = datetime.combine(opening, time.fromisoformat(str(window.end).replace("24:00", "00:00")))
        if start <= wall < (end if end > start else end + timedelta(days=1)):
            return True
    return False


def minutes(since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        yield since
        since += MINUTE


@cache
def clock_changes(zone: str) -> tuple[datetime, ...]:
    """Return the days from 1993 to 2032 on which the clocks of a zone change (within the next 24 hours)."""
    days = [datetime(1993, 1, 1, tzinfo=UTC) + timedelta(days=place) for place in range(365 * 40)]
    offsets = [(day, day.astimezone(ZoneInfo(zone)).utcoffset()) for day in days]
    return tuple(day for (day, offset), (_, later) in pairwise(offsets) if offset != later)


@st.composite
def moments(draw: st.DrawFn, zone: str) -> datetime:
    """Draw a time, mostly near a change of the clocks, and not only on whole minutes."""
    around = clock_changes(zone)
    base = draw(st.sampled_from(around)) if around and draw(st.booleans()) else at("2026-01-01")
    away = timedelta(hours=40) if base in around else timedelta(days=5000)
    ahead = draw(st.timedeltas(-away, away))
    return base + draw(st.sampled_from([ahead, timedelta(minutes=ahead // MINUTE)]))


WALL_MINUTES = st.one_of(
    st.integers(0, 16).map(lambda quarter: quarter * 15),  # the night
    st.integers(88, 95).map(lambda quarter: quarter * 15),  # late in the evening
    st.integers(0, 1439),
)


@st.composite
def windows_and_moments(draw: st.DrawFn) -> tuple[ChangeWindow, datetime]:
    zone = draw(st.one_of(st.sampled_from(ODD_ZONES), st.sampled_from(ALL_ZONES)))
    moment = draw(moments(zone))
    near = st.integers(-3, 5).map(lambda days: (moment + timedelta(days=days)).date())
    start, end = draw(WALL_MINUTES), draw(WALL_MINUTES)
    assume(start != end or start == 0)
    window = ChangeWindow(
        days=draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=7)),
        start=time(*divmod(start, 60)),
        end=time(*divmod(end, 60)),
        timezone=zone,
        except_dates=draw(st.lists(near, max_size=3)),
    )
    return window, moment


@given(windows_and_moments())
@settings(max_examples=120, deadline=None)
def test_open_is_what_the_wall_clock_says(drawn: tuple[ChangeWindow, datetime]) -> None:
    window, moment = drawn
    for minute in minutes(moment - timedelta(hours=20), moment + timedelta(hours=20)):
        assert window.is_open(minute) is oracle(window, minute), window.shown(minute)


@given(windows_and_moments())
@settings(max_examples=120, deadline=None)
def test_next_open_is_the_first_open_moment(drawn: tuple[ChangeWindow, datetime]) -> None:
    window, moment = drawn
    found = window.next_open(moment)
    assert found.tzinfo is UTC
    assert found >= moment
    assert oracle(window, found)
    assert window.next_open(found) == found
    assert not any(oracle(window, minute) for minute in minutes(moment, found))
    assert found == moment or not oracle(window, found - timedelta(microseconds=1))


@given(windows_and_moments())
@settings(max_examples=120, deadline=None)
def test_closes_is_the_first_closed_moment(drawn: tuple[ChangeWindow, datetime]) -> None:
    window, moment = drawn
    opened = window.next_open(moment)
    closed = window.closes(opened)
    if closed is None:  # whole days, the whole week, and all excluded dates are past
        assert all(oracle(window, opened + timedelta(hours=hours)) for hours in range(366 * 24))
        return
    assert closed.tzinfo is UTC
    assert closed > opened
    assert not oracle(window, closed)
    assert all(oracle(window, minute) for minute in minutes(opened, closed))
    assert oracle(window, closed - timedelta(microseconds=1))


@given(windows_and_moments(), st.timedeltas(timedelta(0), timedelta(days=9)))
@settings(max_examples=150, deadline=None)
def test_next_open_is_monotone(drawn: tuple[ChangeWindow, datetime], later: timedelta) -> None:
    window, moment = drawn
    assert window.next_open(moment) <= window.next_open(moment + later)


@given(windows_and_moments())
@settings(deadline=None)
def test_copies_are_equal(drawn: tuple[ChangeWindow, datetime]) -> None:
    window, _ = drawn
    for other in (copy.deepcopy(window), pickle.loads(pickle.dumps(window)), eval(repr(window))):
        assert other == window
        assert hash(other) == hash(window)


# The nights on which clocks change

BERLIN = (
    "Europe/Berlin"  # forward 2026-03-29 at 01:00 UTC (02:00 to 03:00), back 2026-10-25 at 01:00 UTC (03:00 to 02:00)
)


def spans(window: ChangeWindow, since: str, until: str) -> list[str]:
    """Return the times at which a window opens and closes, in UTC."""
    found, moment = [], at(since)
    while (opened := window.next_open(moment)) < at(until):
        closed = window.closes(opened)
        assert closed is not None
        found.append(f"{opened:%d %H:%M} - {closed:%d %H:%M}")
        moment = closed
    return found


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("01:30", "04:00", ["29 00:30 - 29 02:00"]),  # an hour less
        ("02:30", "04:00", ["29 01:00 - 29 02:00"]),  # opens at 03:00
        ("01:00", "02:30", ["29 00:00 - 29 01:00"]),  # closes at 02:00, which is 03:00
        ("02:15", "02:45", []),  # never shown
        ("02:00", "03:00", []),
    ],
)
def test_forward(start: str, end: str, expected: list[str]) -> None:
    assert spans(ChangeWindow("Sun", start, end, BERLIN), "2026-03-28", "2026-03-30") == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("01:00", "04:00", ["24 23:00 - 25 03:00"]),  # an hour more
        ("02:00", "03:00", ["25 00:00 - 25 02:00"]),
        ("02:30", "04:00", ["25 00:30 - 25 01:00", "25 01:30 - 25 03:00"]),
        ("01:00", "02:30", ["24 23:00 - 25 00:30", "25 01:00 - 25 01:30"]),
        ("02:15", "02:45", ["25 00:15 - 25 00:45", "25 01:15 - 25 01:45"]),
        ("03:00", "04:00", ["25 02:00 - 25 03:00"]),
    ],
)
def test_back(start: str, end: str, expected: list[str]) -> None:
    assert spans(ChangeWindow("Sun", start, end, BERLIN), "2026-10-24", "2026-10-26") == expected


def test_clocks_that_change_at_midnight() -> None:
    # São Paulo 2018: Saturday 24:00 was Sunday 01:00; and on 2018-02-17 Saturday 24:00 was Saturday 23:00.
    sao_paulo = ChangeWindow("Sun", "00:00", "02:00", "America/Sao_Paulo")
    assert spans(sao_paulo, "2018-11-03", "2018-11-05") == ["04 03:00 - 04 04:00"]
    evening = ChangeWindow("Sat", "23:30", "24:00", "America/Sao_Paulo")
    assert spans(evening, "2018-02-17", "2018-02-19") == ["18 01:30 - 18 02:00", "18 02:30 - 18 03:00"]
    # Scoresbysund 2025: Saturday 23:00 was Sunday 00:00. The night from Saturday begins then.
    night = ChangeWindow("Sat", "23:30", "04:00", "America/Scoresbysund")
    assert spans(night, "2025-03-29", "2025-03-31") == ["30 01:00 - 30 05:00"]


def test_a_day_that_was_left_out_of_the_calendar() -> None:
    # Samoa had no Friday 2011-12-30.
    assert spans(ChangeWindow("Fri", "09:00", "17:00", "Pacific/Apia"), "2011-12-29", "2012-01-04") == []
    assert spans(ChangeWindow("Fri", "22:00", "04:00", "Pacific/Apia"), "2011-12-29", "2012-01-04") == [
        "30 10:00 - 30 14:00"
    ]


# Days, midnight and excluded dates


def test_the_day_named_is_the_one_on_which_it_opens() -> None:
    night = ChangeWindow("Mon-Thu", "22:00", "04:00", "UTC")
    assert not night.is_open(at("2026-06-01T03:59"))  # Monday, and Sunday does not open
    assert night.is_open(at("2026-06-01T22:00"))
    assert night.is_open(at("2026-06-05T03:59:59.999999"))  # Friday, opened on Thursday
    assert not night.is_open(at("2026-06-05T04:00"))
    assert not night.is_open(at("2026-06-05T22:00"))


def test_a_date_left_out_is_closed_from_midnight_to_midnight_and_does_not_open() -> None:
    night = ChangeWindow("Mon-Sun", "22:00", "04:00", "UTC", ["2026-12-24"])
    assert spans(night, "2026-12-22T12:00", "2026-12-26T12:00") == [
        "22 22:00 - 23 04:00",
        "23 22:00 - 24 00:00",
        "25 22:00 - 26 04:00",
    ]


def test_dates_are_those_of_the_windows_zone() -> None:
    tokyo = ChangeWindow("Thu", "00:00", "24:00", "Asia/Tokyo", [date(2026, 12, 24)])
    assert spans(tokyo, "2026-12-22", "2027-01-01") == ["30 15:00 - 31 15:00"]


@pytest.mark.parametrize("end", ["24:00", "00:00", time(0)])
def test_a_whole_day(end: str | time) -> None:
    window = ChangeWindow("Mon-Tue", "00:00", end, BERLIN)
    assert window.end == "24:00"
    assert spans(window, "2026-06-01", "2026-06-07") == ["01 00:00 - 02 22:00"]


def test_always_open_never_closes() -> None:
    window = ChangeWindow("Mon-Sun", "00:00", "24:00", BERLIN)
    assert window.closes(at("2026-06-01")) is None


def test_never_open_in_the_next_year() -> None:
    year = [date(2026, 6, 1) + timedelta(days=days) for days in range(370)]
    window = ChangeWindow("Mon-Fri", "09:00", "16:00", BERLIN, year)
    with pytest.raises(InvalidInputError, match="never opens in the year after Mon 2026-06-01"):
        window.next_open(at("2026-06-01"))
    assert window.next_open(at("2026-07-01")) == at("2027-06-07T07:00")


def test_a_moment_of_any_zone_will_do() -> None:
    window = ChangeWindow("Mon", "09:00", "16:00", BERLIN)
    moment = datetime(2026, 3, 30, 16, 0, 30, 5, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert window.is_open(moment)
    assert window.next_open(moment) == moment
    assert window.next_open(moment).tzinfo is UTC


# The arguments of a window


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("Mon", ("Mon",)),
        ("mon-THU", ("Mon", "Tue", "Wed", "Thu")),
        ("Fri-Mon", ("Mon", "Fri", "Sat", "Sun")),
        ("Tue-Mon", DAYS),
        (" Wed , Mon-Tue", ("Mon", "Tue", "Wed")),
        (["Sun", "Mon - Tue", "Mon"], ("Mon", "Tue", "Sun")),
        ({"Sat"}, ("Sat",)),
    ],
)
def test_days(days: Any, expected: tuple[str, ...]) -> None:
    assert ChangeWindow(days, "09:00", "16:00", BERLIN).days == expected


def test_one_form_whichever_way_it_was_written() -> None:
    window = ChangeWindow(
        ["Tue", "Mon"], time(9), "16:00", timezone=BERLIN, except_dates=[date(2026, 12, 31), "2026-12-24", "2026-12-24"]
    )
    assert window == ChangeWindow("Mon-Tue", "9:00", time(16), BERLIN, ("2026-12-24", "2026-12-31"))
    assert repr(window) == (
        "ChangeWindow(days=('Mon', 'Tue'), start='09:00', end='16:00', timezone='Europe/Berlin', "
        "except_dates=('2026-12-24', '2026-12-31'))"
    )
    with pytest.raises(AttributeError):
        window.start = "10:00"  # type: ignore[misc]


GOOD: dict[str, Any] = {"days": "Mon", "start": "09:00", "end": "16:00", "timezone": BERLIN}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        *[("days", value, "days: expected at least one day, got none") for value in ([], ())],
        *[("days", value, "is not a day or days") for value in ("", "Mom", "Mon-", "Mon-Tue-Wed", "Mon-Mon", "Mon,")],
        *[("days", value, "is not a day or days") for value in ("M", "Monday", "Mon/Thu", [0], [None], ["Mon", ""])],
        *[("days", value, "expected a list") for value in (None, 1, b"Mon")],
        *[("start", value, "is not a wall time") for value in ("", "9", "24:01", "25:00", "09:60", "09:00:00", None)],
        *[("start", value, "is not a wall time") for value in (time(9, 0, 1), time(9, tzinfo=UTC), "-1:00", " 09:00")],
        ("start", 1320, "in YAML it needs quotes"),
        ("start", "24:00", "a day starts at '00:00'"),
        *[("end", value, "is not a wall time") for value in ("24:30", "٠٩:00", 16)],
        ("end", "09:00", "is the start as well"),
        *[("timezone", value, "is not an IANA time zone") for value in ("", "Berlin", "Europe", "../x", "CEST", None)],
        *[
            ("timezone", value, "is not an IANA time zone")
            for value in ("localtime", "right/UTC", "\0", "x" * 999, UTC)
        ],
        *[("except_dates", value, "expected a list") for value in ("2026-12-24", date(2026, 12, 24), None)],
    ],
)
def test_bad_input_is_refused_with_the_fields_name(field: str, value: object, says: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        ChangeWindow(**{**GOOD, field: value})
    assert refused.value.field == field
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "value", ["24.12.", "2026-13-01", "20261224", "2026-W52-4", "", None, 20261224, datetime(2026, 12, 24)]
)
def test_a_bad_date_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        ChangeWindow(**GOOD, except_dates=["2026-12-24", value])
    assert refused.value.field == "except_dates[1]"


def test_moments_without_a_zone_are_refused() -> None:
    window = ChangeWindow("Mon-Sun", "00:00", "24:00", BERLIN)
    for asked in (window.is_open, window.next_open, window.closes, window.shown):
        for moment in (datetime(2026, 1, 1), date(2026, 1, 1), None):
            with pytest.raises(InvalidInputError, match=r"moment: .* is not a datetime with a time zone"):
                asked(moment)  # type: ignore[arg-type]


def test_closes_is_refused_while_closed() -> None:
    with pytest.raises(InvalidInputError, match="moment: the window is not open on Tue 2026-03-31 09:00 Europe/Berlin"):
        ChangeWindow("Mon", "09:00", "16:00", BERLIN).closes(at("2026-03-31T07:00"))


@pytest.mark.parametrize(
    ("zone", "moment", "expected"),
    [
        (BERLIN, "2026-03-30T07:00", "Mon 2026-03-30 09:00 Europe/Berlin (07:00 UTC)"),
        (BERLIN, "2026-03-29T22:30:59", "Mon 2026-03-30 00:30 Europe/Berlin (Sun 2026-03-29 22:30 UTC)"),
        (BERLIN, "2026-10-25T00:30", "Sun 2026-10-25 02:30 Europe/Berlin (00:30 UTC)"),
        (BERLIN, "2026-10-25T01:30", "Sun 2026-10-25 02:30 Europe/Berlin (01:30 UTC)"),
        (
            "America/Los_Angeles",
            "2026-01-01T01:00",
            "Wed 2025-12-31 17:00 America/Los_Angeles (Thu 2026-01-01 01:00 UTC)",
        ),
    ],
)
def test_shown(zone: str, moment: str, expected: str) -> None:
    assert ChangeWindow("Mon", "09:00", "16:00", zone).shown(at(moment)) == expected


def test_it_is_cheap_to_import() -> None:
    module = ChangeWindow.__module__
    code = f"import sys, {module}; print({{'airflow', 'requests', 'tenacity', 'pydantic'}} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
