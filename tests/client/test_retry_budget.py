"""``retry_for``: the longest time of a call."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
import tenacity

from airflow_provider_ampexp.client import (
    ConnectionFailedError,
    ManagementApiError,
    ManagementClient,
    NoAnswerError,
    RateLimitError,
    ServerError,
    UncertainWriteError,
)
from airflow_provider_ampexp.client._transport import LONGEST_RETRY_AFTER
from airflow_provider_ampexp.emulator.control import Emulator

from .bare_server import CUT, BareServer, reply
from .calls import World

Worlds = Callable[[str], World]
LIMITED = [
    ({"status": 429}, RateLimitError),
    ({"status": 429, "headers": {"Retry-After": "0"}}, RateLimitError),
    ({"status": 429, "headers": {"Retry-After": "0.001"}}, RateLimitError),
]


def _impatient(emulator: Emulator, retry_for: float = 0) -> ManagementClient:
    return ManagementClient(emulator.api_key, base_url=emulator.base_url, timeout=0.4, retry_for=retry_for)


@pytest.mark.parametrize(
    ("fault", "read", "write"),
    [
        *(({"kind": "status", **limited}, wanted, wanted) for limited, wanted in LIMITED),
        ({"kind": "status", "status": 500}, ServerError, UncertainWriteError),
        ({"kind": "cut_before"}, NoAnswerError, UncertainWriteError),
    ],
)
def test_a_budget_of_nothing_never_repeats(
    fault: dict, read: type[ManagementApiError], write: type[ManagementApiError], world: Worlds, waits: list[float]
):
    here = world("flags")
    here.emulator.fault(times=2, **fault)
    with _impatient(here.emulator) as client:
        with pytest.raises(read):
            client.flags.get(here.id)
        with pytest.raises(write):
            client.flags.edit(here.id, {"enabled": True})
        assert here.emulator.requests()["total"] == 2
        assert waits == []


def test_a_budget_of_nothing_repeats_no_failed_connection(bare: BareServer, waits: list[float]):
    with ManagementClient("ampex_x", base_url=bare.base_url, retry_for=0) as client:
        bare.__exit__(None, None, None)
        with pytest.raises(ConnectionFailedError):
            client.flags.get("1")
    assert waits == []


def _in(seconds: int) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    "asked",
    ["60", "61", "86400", "1e300", "inf", pytest.param(_in(3600), id="a date"), pytest.param(_in(10**9), id="far off")],
)
def test_a_wait_beyond_the_budget_is_told_at_once(
    asked: str, client: ManagementClient, world: Worlds, waits: list[float]
):
    here = world("flags")
    here.emulator.fault("status", status=429, times=None, headers={"Retry-After": asked})
    with pytest.raises(RateLimitError) as caught:
        client.flags.edit(here.id, {"enabled": True})
    assert here.emulator.requests()["total"] == 1
    assert waits == []
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 59


def test_a_date_is_read_on_the_services_own_clock(client: ManagementClient, world: Worlds, waits: list[float]):
    here = world("flags")
    here.emulator.advance(-86_400)  # by this machine's clock, the dates of the service are long past
    list(client.deployments.list())
    assert client.date is not None
    soon = format_datetime(client.date + timedelta(seconds=40), usegmt=True)
    here.emulator.fault("status", status=429, headers={"Retry-After": soon})
    client.flags.get(here.id)
    (waited,) = waits
    assert 35 < waited <= 41


@pytest.mark.parametrize("asked", ["-5", "nan", "", "Wed, 99 Oct 2015 07:28:00 GMT", "21 Oct", "٣", "1 2"])
def test_a_wait_that_is_none_is_as_if_there_were_none(
    asked: str, to_bare: ManagementClient, bare: BareServer, waits: list[float]
):
    answers = [reply(b"slow down", 429, Retry_After=asked), reply({"id": "1"})]
    bare.answer = lambda asked: answers.pop(0)
    to_bare.flags.get("1")
    (waited,) = waits
    assert 0 <= waited <= 4


def test_the_limit_of_a_second_is_waited_for(client: ManagementClient, world: Worlds, waits: list[float]):
    here = world("flags")
    here.emulator.settings(rate_per_second=1)
    client.flags.get(here.id)
    with pytest.raises(RateLimitError) as caught:
        client.flags.get(here.id)  # the waits take no real time, so the emulator's second does not end
    assert caught.value.retry_after == 1
    assert len(waits) > 25
    assert all(1 <= wait <= 2 for wait in waits)
    assert len(set(waits)) > 1  # many tasks do not retry at the same time


def test_the_limit_of_a_day_is_told_at_once_and_says_when_it_ends(
    client: ManagementClient, world: Worlds, waits: list[float]
):
    here = world("flags")
    client.flags.get(here.id)
    assert client.date is not None
    noon = client.date.replace(hour=12, minute=0, second=0)
    here.emulator.advance((noon - client.date).total_seconds())
    here.emulator.settings(rate_per_day=0)
    here.emulator.clear_requests()
    with pytest.raises(RateLimitError, match="midnight UTC") as caught:
        client.flags.edit(here.id, {"enabled": True})
    assert here.emulator.requests()["total"] == 1
    assert waits == []
    assert caught.value.retry_after == LONGEST_RETRY_AFTER
    here.emulator.advance(12 * 3600 + 60)
    here.emulator.settings(rate_per_day=100_000)
    client.flags.edit(here.id, {"enabled": True})


def test_waits_grow_and_are_spread(
    to_bare: ManagementClient, bare: BareServer, waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    spans: list[tuple[float, float]] = []
    monkeypatch.setattr(random, "uniform", lambda low, high: spans.append((low, high)) or high)
    bare.answer = lambda asked: CUT
    with pytest.raises(NoAnswerError):
        to_bare.flags.get("1")
    assert spans[:6] == [(0, 0.5), (0, 1), (0, 2), (0, 4), (0, 8), (0, 16)]
    # The next wait of 30 seconds would end after the budget of 60.
    assert waits == [0.5, 1, 2, 4, 8, 16]
    assert len(bare.asked) == 7


def test_what_was_never_sent_is_repeated_until_there_is_a_connection(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    with BareServer() as gone:
        port, address = gone.port, gone.base_url
    up: list[BareServer] = []

    def until_the_third(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            up.append(BareServer(lambda asked: reply({"id": "9"}), port=port))

    monkeypatch.setattr(tenacity.nap.time, "sleep", until_the_third)
    with ManagementClient("ampex_x", base_url=address, timeout=0.4, retry_for=60) as client:
        assert client.flags.create({"projectId": "1", "key": "k"})["id"] == "9"
    (server,) = up
    with server:
        assert [request.method for request in server.asked] == ["POST"]


@pytest.mark.parametrize("call", ["get", "create"])
def test_no_connection_for_ever_ends_with_the_budget_and_nothing_was_sent(call: str, waits: list[float]):
    with BareServer() as gone:
        address = gone.base_url
    client = ManagementClient("ampex_x", base_url=address, timeout=0.4, retry_for=60)
    with client, pytest.raises(ConnectionFailedError, match="nothing was sent") as caught:
        client.flags.get("1") if call == "get" else client.flags.create({"projectId": "1", "key": "k"})
    assert len(waits) > 4
    assert caught.value.status is None


def test_a_budget_is_of_each_call_on_its_own(client: ManagementClient, world: Worlds, waits: list[float]):
    here = world("flags")
    for _ in range(3):
        here.emulator.fault("status", status=429, headers={"Retry-After": "40"})
        client.flags.get(here.id)
    assert sum(waits) > 119


@pytest.mark.parametrize("asked", ["86400", "inf", "1e300", pytest.param(_in(10**9), id="far off")])
def test_a_wait_of_a_day_is_cut_to_some_minutes_and_then_it_asks_again(asked: str, world: Worlds, waits: list[float]):
    here = world("flags")
    here.emulator.fault("status", status=429, headers={"Retry-After": asked})
    with ManagementClient(here.emulator.api_key, base_url=here.emulator.base_url, retry_for=3600) as patient:
        patient.flags.get(here.id)
    (waited,) = waits
    assert LONGEST_RETRY_AFTER <= waited <= LONGEST_RETRY_AFTER + 1
