"""Times and actors, in all forms in which a service writes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ampexp.client._actors import actor_name
from airflow_provider_ampexp.client._timestamps import parse_timestamp

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-07-29T03:32:49Z", datetime(2023, 7, 29, 3, 32, 49, tzinfo=UTC)),
        ("2023-07-29T03:32:49.5Z", datetime(2023, 7, 29, 3, 32, 49, 500_000, tzinfo=UTC)),
        ("2023-07-29T03:32:49.59Z", datetime(2023, 7, 29, 3, 32, 49, 590_000, tzinfo=UTC)),
        ("2023-07-29T03:32:49.594Z", datetime(2023, 7, 29, 3, 32, 49, 594_000, tzinfo=UTC)),
        ("2023-07-29T03:32:49.5941Z", datetime(2023, 7, 29, 3, 32, 49, 594_100, tzinfo=UTC)),
        ("2023-07-29T03:32:49.123456789Z", datetime(2023, 7, 29, 3, 32, 49, 123_456, tzinfo=UTC)),
        ("2023-07-29T05:32:49+02:00", datetime(2023, 7, 29, 3, 32, 49, tzinfo=UTC)),
        ("2023-07-29T05:32:49+0200", datetime(2023, 7, 29, 3, 32, 49, tzinfo=UTC)),
        ("2023-07-28T22:02:49.1-0530", datetime(2023, 7, 29, 3, 32, 49, 100_000, tzinfo=UTC)),
        ("2023-07-29T05:32:49+02", datetime(2023, 7, 29, 3, 32, 49, tzinfo=UTC)),
        ("2023-07-29 03:32Z", datetime(2023, 7, 29, 3, 32, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_whatever_its_fraction_and_offset(text: str, moment: datetime) -> None:
    assert parse_timestamp(text) == moment


@pytest.mark.parametrize(
    "odd",
    [
        None, 1690601569, True, [], {}, "", "yesterday", "2023-07-29", "2023-07-29T03:32:49", "2023-13-29T03:32:49Z",
        "2023-07-29T25:32:49Z", "2023-07-29T03:32:49+99:99", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
        "2023-07-29T03:32:49.Z", "٢٠٢٣-07-29T03:32:49Z", "0000-07-29T03:32:49Z",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_none(odd: object) -> None:
    assert parse_timestamp(odd) is None


def test_a_day_is_one_where_a_zone_is_given() -> None:
    assert parse_timestamp("2023-07-29", default_zone=UTC) == datetime(2023, 7, 29, tzinfo=UTC)
    assert parse_timestamp("2023-07-29T01:00:00", default_zone=UTC) == datetime(2023, 7, 29, 1, tzinfo=UTC)


@given(
    st.datetimes(timezones=st.integers(-14 * 60, 14 * 60).map(lambda some: timezone(timedelta(minutes=some)))),
)
def test_what_python_writes_is_read(moment: datetime) -> None:
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        return
    assert parse_timestamp(moment.isoformat()) == expected


@pytest.mark.parametrize(
    ("by", "name"),
    [
        ("Maria", "Maria"),
        (848345, "848345"),
        (848345.0, "848345"),
        ({"email": "maria@acme.com", "name": "Maria", "id": 7}, "maria@acme.com"),
        ({"email": None, "name": "Maria", "id": 7}, "Maria"),
        ({"email": "", "id": 7}, "7"),
        ({"email": {"of": "whom"}, "name": ["Maria"]}, "somebody"),
        ("Maria\nLopez", "Maria Lopez"),
        (None, "somebody"),
        (True, "somebody"),
        ("", "somebody"),
        ([1], "somebody"),
        ({}, "somebody"),
    ],
)
def test_an_actor_is_shown_by_e_mail_name_or_id(by: object, name: str) -> None:
    assert actor_name(by) == name
