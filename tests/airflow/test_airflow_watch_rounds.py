"""The times of polling rounds, with any joins, leaves, changes and failures, on a virtual clock."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp.client._errors import RateLimitError, ServerError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.polling import _shared_poller as shared_poller
from airflow_provider_ampexp.polling._batch_reader import ReadResult
from airflow_provider_ampexp.polling._shared_poller import poll_until

BEGIN = datetime(2026, 3, 2, tzinfo=timezone.utc)
READ_TAKES = 0.2
END = 600.0


class _Selector(selectors.SelectSelector):
    """A selector without events from outside. A wait only advances the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which hours pass at once."""

    def __init__(self) -> None:
        self.clock = _Selector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


@dataclass
class Service:
    """The states of the flags over time, and the times of outages."""

    loop: VirtualLoop
    changes: list[tuple[float, str]]
    outages: list[tuple[float, float, Exception]] = field(default_factory=list)
    looks: list[tuple[float, float]] = field(default_factory=list)
    is_busy: bool = False

    @property
    def client(self) -> Any:
        date = BEGIN + timedelta(seconds=int(self.loop.time()))
        return SimpleNamespace(date=date, requests=SimpleNamespace(total=len(self.looks)))

    def value(self, id: str, at: float) -> int:
        return sum(1 for moment, change in self.changes if change == id and moment <= at)

    def look(self, due: Set[FlagRef], soon: Set[FlagRef], watched: Set[FlagRef], ending: Set[FlagRef]) -> ReadResult:
        """Read all flags, as the list does."""
        assert due
        assert due <= soon <= watched
        now = self.loop.time()
        self.looks.append((now, now + READ_TAKES))
        for since, until, error in self.outages:
            if since <= now < until:
                return ReadResult(error=error)
        return ReadResult({flag: {"id": flag.id, "value": self.value(str(flag.id), now)} for flag in watched})  # type: ignore[misc]

    def close(self) -> None:
        pass


@dataclass
class Waiter:
    """A wait until a flag has changed once more."""

    loop: VirtualLoop
    id: str
    interval: float
    first: int | None = None
    looks: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    until: float = float("inf")

    @property
    def target(self) -> FlagRef:
        return FlagRef("flags", id=self.id)

    def seconds_left(self, now: datetime) -> float:
        return self.until - self.loop.time()

    def saw(self, config: Any, client: Any) -> dict[str, Any] | None:
        self.looks.append(self.loop.time())
        if self.first is None:
            self.first = config["value"]
        if self.until <= self.loop.time():
            return {"at": self.loop.time(), "due": True}
        return {"at": self.loop.time()} if config["value"] > self.first else None

    def failed(self, error: Exception) -> dict[str, Any] | None:
        self.failures.append(self.loop.time())
        return None


@contextmanager
def world(changes: Any = (), outages: Any = ()) -> Iterator[tuple[VirtualLoop, Service]]:
    loop = VirtualLoop()
    service = Service(loop, list(changes), list(outages))

    async def to_thread(function: Callable[..., Any], *args: Any) -> Any:
        assert not service.is_busy, "two rounds at once"
        service.is_busy = True
        found = function(*args)
        await asyncio.sleep(READ_TAKES)
        service.is_busy = False
        return found

    fake = SimpleNamespace(
        get_running_loop=asyncio.get_running_loop,
        to_thread=to_thread,
        wait_for=asyncio.wait_for,
        TimeoutError=asyncio.TimeoutError,
    )
    hook = SimpleNamespace(fields=SimpleNamespace(connect=lambda retry_for: service.client, project_id=None))
    with (
        mock.patch.object(shared_poller, "asyncio", fake),
        mock.patch.object(shared_poller, "BatchReader", return_value=service),
        mock.patch.object(shared_poller, "AmplitudeExperimentHook", return_value=hook),
    ):
        try:
            yield loop, service
        finally:
            loop.close()
    assert not shared_poller._watches


@dataclass(frozen=True)
class Wait:
    joins: float
    leaves: float
    id: str
    interval: float


def play(loop: VirtualLoop, waits: list[Wait]) -> list[tuple[Wait, Waiter, dict[str, Any] | None]]:
    """Let all waits join, wait and leave."""

    async def one(wait: Wait) -> tuple[Wait, Waiter, dict[str, Any] | None]:
        await asyncio.sleep(wait.joins)
        waiter = Waiter(loop, wait.id, wait.interval)
        task = asyncio.ensure_future(poll_until("one", waiter))
        done, _ = await asyncio.wait([task], timeout=max(wait.leaves - loop.time(), 0))
        if not done:
            task.cancel()
            return wait, waiter, None
        return wait, waiter, task.result()

    async def everybody() -> list[Any]:
        told = await asyncio.gather(*map(one, waits))
        await asyncio.sleep(1)  # a last round may be in progress
        return told

    return loop.run_until_complete(everybody())


WAITS = st.lists(
    st.builds(
        lambda joins, stays, id, interval: Wait(joins, joins + stays, id, interval),
        st.floats(0, 300).map(lambda number: round(number, 1)),
        st.floats(0, 300).map(lambda number: round(number, 1)),
        st.sampled_from("abcde"),
        st.sampled_from([1.0, 5.0, 30.0, 60.0]),
    ),
    min_size=1,
    max_size=12,
)
CHANGES = st.lists(
    st.tuples(st.floats(0, END).map(lambda number: round(number, 1)), st.sampled_from("abcde")), max_size=20
)
STORIES = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@STORIES
@given(WAITS, CHANGES)
def test_everybody_sees_every_change_in_time(waits: list[Wait], changes: list[tuple[float, str]]) -> None:
    with world(changes) as (loop, service):
        for wait, waiter, event in play(loop, waits):
            stayed = (event["at"] if event else wait.leaves) - wait.joins
            if stayed > 1 + 3 * READ_TAKES:
                assert waiter.looks, "no look although it stayed"
                assert waiter.looks[0] <= wait.joins + 1 + 3 * READ_TAKES, "its first look is soon"
            ends = [*waiter.looks, event["at"] if event else wait.leaves]
            for before, after in zip(waiter.looks, ends[1:], strict=False):
                assert after - before <= wait.interval + 2 * READ_TAKES, "no longer than its interval between two looks"
            if event is None:
                last = round(waiter.looks[-1] - READ_TAKES, 3) if waiter.looks else 0.0
                assert waiter.first is None or service.value(wait.id, last) == waiter.first, "a change was missed"


@STORIES
@given(WAITS)
def test_there_are_no_more_rounds_than_it_takes(waits: list[Wait]) -> None:
    """One round for each interval of the shortest wait, and one for the waits that join within a second."""
    with world() as (loop, service):
        play(loop, waits)
        began = [since for since, _ in service.looks]
        assert all(after >= until for (_, until), after in zip(service.looks, began[1:], strict=False))
        for before, now in zip([float("-inf"), *began], began, strict=False):
            there = [wait for wait in waits if wait.joins <= now and before <= wait.leaves]
            joined = [wait for wait in there if wait.joins >= before]
            quickest = min(wait.interval for wait in there)
            assert joined or now - before >= quickest - 1e-6, "nobody was due"


@STORIES
@given(WAITS, st.floats(0, 200), st.floats(1, 200), st.sampled_from([None, 3.0, 50.0]))
def test_an_outage_slows_the_rounds_and_loses_nobody(
    waits: list[Wait], since: float, lasts: float, retry_after: float | None
) -> None:
    error: Any = ServerError("GET", "/", status=503)
    if retry_after is not None:
        error = RateLimitError("GET", "/", status=429)
        error.retry_after = retry_after
    with world(outages=[(since, since + lasts, error)]) as (loop, service):
        told = play(loop, waits)
        during = [at for at, _ in service.looks if since <= at < since + lasts]
        for before, after in pairwise(during):
            if any(wait.joins <= before and wait.leaves >= after for wait in waits):
                assert after - before >= (retry_after or 2.0), "the round waits, not each waiter"
        for wait, waiter, _ in told:
            waited_for = since + lasts + max(60.0, retry_after or 0.0) + wait.interval + 2
            if wait.joins < since and wait.leaves > waited_for:
                assert any(at > since + lasts for at in waiter.looks), "it goes on after"


def test_a_thousand_waits_are_one_round_an_interval() -> None:
    with world() as (loop, service):
        waits = [Wait(number / 100, 100.0, f"flag-{number}", 5.0) for number in range(1000)]
        play(loop, waits)
        assert len([at for at, _ in service.looks if at >= 12]) == 18  # in 88 s
        assert len(service.looks) <= 18 + 12  # and one each second while waits join


def test_a_last_look_is_at_its_moment_and_not_before() -> None:
    with world() as (loop, service):

        async def two() -> list[Any]:
            soon, late = Waiter(loop, "a", 60.0, until=7.0), Waiter(loop, "b", 60.0, until=200.0)
            told = await asyncio.gather(*(poll_until("one", waiter) for waiter in (soon, late)))
            await asyncio.sleep(1)
            return told

        events = loop.run_until_complete(two())
        assert [event["due"] for event in events] == [True, True]
        assert [round(event["at"], 3) for event in events] == [7.2, 200.2]
        assert [round(at, 3) for at, _ in service.looks] == [0.0, 7.0, 67.0, 127.0, 187.0, 200.0]
