"""The choice of a clock: a table of cases, and the clock of a client whose service has a wrong clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from airflow_provider_ampexp.client import _service_clock as service_clock
from airflow_provider_ampexp.client._service_clock import (
    DATE,
    LOCAL,
    ClockSources,
    ServiceClock,
    parse_date,
    which_clock,
)

TRUE = datetime(2026, 3, 2, 12, tzinfo=timezone.utc)
NOW, MINUTE, HOUR, DAY, WEEK = (timedelta(seconds=some) for some in (0, 60, 3600, 86_400, 604_800))

# The time of each clock, as a distance from the true time; None for no time. Then the result, and the refused clocks.
CASES: dict[str, tuple[dict[str, timedelta | None], timedelta, tuple[str, ...]]] = {
    "all agree": ({"date": NOW, "local": NOW}, NOW, ()),
    "a local clock that is minutes ahead": ({"date": NOW, "local": 5 * MINUTE}, NOW, ()),
    "a local clock that is minutes behind": ({"date": NOW, "local": -5 * MINUTE}, NOW, ()),
    "a Date a week ahead": ({"date": WEEK, "local": NOW}, NOW, (DATE,)),
    "a Date a week ahead, after an old version": ({"date": WEEK, "local": NOW, "not_before": -HOUR}, NOW, (DATE,)),
    "a Date an hour behind": ({"date": -HOUR, "local": NOW}, -HOUR, (LOCAL,)),
    "a Date that is behind the newest version": ({"date": -HOUR, "local": NOW, "not_before": NOW}, NOW, (DATE,)),
    "a local clock a day ahead": ({"date": NOW, "local": DAY}, NOW, (LOCAL,)),
    "a local clock a day ahead, known": ({"date": NOW, "local": DAY, "corrected": NOW}, NOW, (LOCAL,)),
    "a local clock hours behind": ({"date": NOW, "local": -5 * HOUR}, -5 * HOUR, (DATE,)),
    "a local clock hours behind, known": ({"date": NOW, "local": -5 * HOUR, "corrected": NOW}, NOW, (LOCAL,)),
    "a local clock behind the newest version": (
        {"date": NOW, "local": -5 * HOUR, "not_before": -HOUR},
        NOW,
        (LOCAL,),
    ),
    "a local clock a day ahead, right after a write": (
        {"date": NOW, "local": DAY, "not_before": NOW, "not_after": NOW},
        NOW,
        (LOCAL,),
    ),
    "a local clock a day behind, right after a write": (
        {"date": NOW, "local": -DAY, "not_before": NOW, "not_after": NOW},
        NOW,
        (LOCAL,),
    ),
    "a Date a week ahead, right after a write": (
        {"date": WEEK, "local": NOW, "not_before": NOW, "not_after": NOW},
        NOW,
        (DATE,),
    ),
    "a Date a week ahead and a local clock a day ahead, right after a write": (
        {"date": WEEK, "local": DAY, "not_before": NOW, "not_after": NOW},
        NOW,
        (DATE, LOCAL),
    ),
    "a Date a week ahead and a local clock a day ahead, known": (
        {"date": WEEK, "local": DAY, "corrected": NOW},
        NOW,
        (DATE, LOCAL),
    ),
    "a Date and a local clock that are wrong alike, right after a write": (
        {"date": WEEK, "local": WEEK, "not_before": NOW, "not_after": NOW},
        NOW,
        (DATE, LOCAL),
    ),
    "a Date that jumps ahead": ({"date": WEEK, "steady": NOW, "local": 30 * DAY}, NOW, (DATE, LOCAL)),
    "a version from the future": ({"date": NOW, "local": NOW, "not_before": WEEK, "not_after": WEEK}, NOW, ()),
    "a version from the future and clocks that differ": (
        {"date": -HOUR, "local": NOW, "not_before": WEEK},
        NOW,
        (DATE,),
    ),
    "the correction of another machine": ({"date": NOW, "local": NOW, "corrected": -DAY}, NOW, ()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_earliest_time_that_fits_is_believed(case: str) -> None:
    says, believed, doubted = CASES[case]
    found = which_clock(ClockSources(**{name: some if some is None else TRUE + some for name, some in says.items()}))  # type: ignore[arg-type]
    assert found is not None
    assert found.now - TRUE == believed
    assert found.doubted == doubted


def test_before_an_answer_nothing_is_known() -> None:
    assert which_clock(ClockSources(date=None, local=TRUE)) is None
    assert ServiceClock().now() is None


class Time:
    """This machine's clocks, which the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = timedelta(0)
        self.local_error = timedelta(0)
        told = self

        class Now(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return TRUE + told.passed + told.local_error

        monkeypatch.setattr(service_clock, "datetime", Now)
        monkeypatch.setattr(service_clock.time, "monotonic", lambda: 1000 + self.passed.total_seconds())

    @property
    def true(self) -> datetime:
        return TRUE + self.passed


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.mark.parametrize("error", [NOW, DAY, -DAY, -HOUR, HOUR])
def test_after_a_write_an_honest_service_is_believed_whatever_this_machine_says(
    passing: Time, error: timedelta
) -> None:
    passing.local_error = error
    service = ServiceClock()
    service.heard(passing.true)
    service.read_history("flag", passing.true - WEEK)
    passing.passed += 3 * timedelta(seconds=1)
    service.heard(passing.true)
    service.read_history("flag", passing.true - timedelta(seconds=1))
    assert service.now() == passing.true
    known = service.local_error
    assert known is not None
    assert abs(known - error) <= timedelta(seconds=1)
    passing.passed += DAY  # a deferral, and a new client
    later = ServiceClock()
    later.heard(passing.true)
    later.read_history("flag", passing.true - DAY)
    assert later.now(known) == passing.true


def test_a_week_ahead_is_not_believed_before_a_write_nor_after(passing: Time, caplog: pytest.LogCaptureFixture) -> None:
    service = ServiceClock("https://proxied.example")
    service.heard(passing.true + WEEK)
    service.read_history("flag", passing.true - HOUR)
    assert service.now() == passing.true
    passing.passed += timedelta(seconds=2)
    service.heard(passing.true + WEEK)
    service.read_history("flag", passing.true)
    assert service.now() == passing.true
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.startswith("Ignoring the Date of the service's responses.")
    assert "https://proxied.example" in warning


def test_a_clock_that_the_emulator_moved_is_believed(passing: Time) -> None:
    service = ServiceClock()
    service.heard(passing.true)
    service.read_history("flag", passing.true - HOUR)
    service.read_history("flag", passing.true)
    service.heard(passing.true + WEEK, WEEK)
    assert service.now() == passing.true + WEEK


@pytest.mark.parametrize(
    "odd",
    [
        "", "yesterday", "Mon, 99 Foo 99999 99:99:99 GMT", "Mon, 02 Mar 99999999999 12:00:00 GMT",
        "Mon, 02 Mar 2026 12:00:00 +99999999999", "Mon, 31 Dec 9999 23:59:59 GMT",
        "Mon,", "0", "inf", "2026-03-02T12:00:00Z", "Mon, 02 Mar 2026 99:00:00 GMT",
    ],
)  # fmt: skip
def test_an_odd_date_tells_nothing(odd: str) -> None:
    assert parse_date(odd) is None


def test_a_date_is_read() -> None:
    assert parse_date(format_datetime(TRUE, usegmt=True)) == TRUE
