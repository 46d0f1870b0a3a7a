"""Many waits share one poller, over real HTTP, with the requests counted by the emulator."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.polling import _shared_poller as shared_poller
from airflow_provider_ampexp.polling._batch_reader import BatchReader, ReadResult
from airflow_provider_ampexp.polling._shared_poller import poll_until

CONNECTION = "amplitude_experiment_default"
READ, LIST = "GET /api/1/flags/{id}", "GET /api/1/flags"


class Waiter:
    """A wait until a flag is enabled, or for some polls."""

    def __init__(self, id: str, *, looks: int | None = None, interval: float = 0.1, kind: Kind = "flags") -> None:
        self.id = id
        self.target = FlagRef(kind, id=id)
        self.interval = interval
        self.looks = 0
        self._until = looks

    def seconds_left(self, now: datetime) -> float:
        return 1000.0

    def saw(self, config: Any, client: Any) -> dict[str, Any] | None:
        self.looks += 1
        return {"looks": self.looks} if config["enabled"] or self.looks == self._until else None

    def failed(self, error: Exception) -> dict[str, Any] | None:
        return {"error": str(error)}


class Rounds:
    """Count the polls, and call a function after each poll."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sights: list[ReadResult] = []
        self.after: Callable[[int], object] = lambda count: None
        look = BatchReader.look
        busy: set[BatchReader] = set()

        def spy(lookout: BatchReader, *args: Any) -> ReadResult:
            assert lookout not in busy, "two rounds at once"
            busy.add(lookout)
            try:
                sight = look(lookout, *args)
            finally:
                busy.discard(lookout)
            self.sights.append(sight)
            self.after(len(self.sights))
            return sight

        monkeypatch.setattr(BatchReader, "look", spy)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    return Rounds(monkeypatch)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    yield
    assert not shared_poller._watches


def flags(emulator: Emulator, count: int) -> list[str]:
    emulator.settings(rate_per_second=None)
    ids = emulator.load({"flags": [{"key": f"flag-{number}"} for number in range(count)]})["flags"]
    emulator.clear_requests()
    return ids


def all_kinds(emulator: Emulator) -> list[Waiter]:
    """Return waits for flags and experiments, for which the feed of versions saves requests."""
    emulator.settings(extra_endpoints=True)
    kinds: tuple[Kind, ...] = ("flags", "experiments")
    waiters = [
        Waiter(id, kind=kind)
        for kind in kinds
        for id in emulator.load({kind: [{"key": f"{kind}-{number}"} for number in range(3)]})[kind]
    ]
    emulator.advance(60)  # the feed reports young versions again after a failed poll
    return waiters


async def all_of(waiters: list[Waiter], conn_id: str = CONNECTION) -> list[dict[str, Any]]:
    return await asyncio.gather(*(poll_until(conn_id, waiter) for waiter in waiters))


def test_a_thousand_waits_are_one_request_a_round(emulator: Emulator, rounds: Rounds) -> None:
    ids = flags(emulator, 1000)
    rounds.after = lambda count: count == 3 and emulator.edit("flags", ids[500], enabled=True)
    waiters = [Waiter(id, looks=6) for id in ids]
    events = asyncio.run(all_of(waiters))
    assert events == [{"looks": 6}] * 500 + [{"looks": 4}] + [{"looks": 6}] * 499
    assert len(rounds.sights) == 6
    assert emulator.requests()["by_route"] == {LIST: 6}


def test_waits_for_one_flag_are_one_read(emulator: Emulator, rounds: Rounds) -> None:
    (id,) = flags(emulator, 1)
    assert asyncio.run(all_of([Waiter(id, looks=3) for _ in range(50)])) == [{"looks": 3}] * 50
    assert emulator.requests()["by_route"] == {READ: 3}


def test_who_comes_and_goes_changes_nothing_for_the_others(emulator: Emulator, rounds: Rounds) -> None:
    ids = flags(emulator, 3)
    stays, goes, comes = Waiter(ids[0], looks=8), Waiter(ids[1]), Waiter(ids[2], looks=3)

    async def people() -> list[dict[str, Any]]:
        staying, going = (asyncio.ensure_future(poll_until(CONNECTION, waiter)) for waiter in (stays, goes))
        while goes.looks < 3:
            await asyncio.sleep(0.01)
        going.cancel()
        coming = asyncio.ensure_future(poll_until(CONNECTION, comes))
        return [await coming, await staying]

    assert asyncio.run(people()) == [{"looks": 3}, {"looks": 8}]
    assert goes.looks in (3, 4)  # a round may have been in progress
    assert len(rounds.sights) == 8
    assert emulator.requests()["total"] == 8 or emulator.requests()["by_route"][READ] > 0


@pytest.mark.parametrize("first_poll", ["succeeds", "fails"])
def test_who_joins_learns_the_state_although_the_others_read_only_changes(
    emulator: Emulator, rounds: Rounds, first_poll: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_poller, "_LONGEST_BACKOFF", 0.05)
    stay = all_kinds(emulator)
    comes, failures = Waiter(stay[0].id, looks=1), []
    monkeypatch.setattr(comes, "failed", failures.append)

    async def people() -> dict[str, Any]:
        staying = [asyncio.ensure_future(poll_until(CONNECTION, waiter)) for waiter in stay]
        for waiter in stay:
            monkeypatch.setattr(waiter, "failed", lambda error: None)
        while not rounds.sights or not rounds.sights[-1].unchanged:
            await asyncio.sleep(0.01)
        if first_poll == "fails":
            emulator.fault("status", status=503, times=1)
        try:
            return await asyncio.wait_for(poll_until(CONNECTION, comes), 10)
        finally:
            for task in staying:
                task.cancel()
            await asyncio.gather(*staying, return_exceptions=True)

    assert asyncio.run(people()) == {"looks": 1}
    assert len(failures) == (first_poll == "fails")


def test_after_a_failed_poll_each_wait_learns_the_state_again(
    emulator: Emulator, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two failures hours apart count as consecutive, if only changes are read between them."""
    monkeypatch.setattr(shared_poller, "_LONGEST_BACKOFF", 0.05)
    waiters, failures = all_kinds(emulator), []

    async def people() -> None:
        tasks = [asyncio.ensure_future(poll_until(CONNECTION, waiter)) for waiter in waiters]
        for waiter in waiters:
            monkeypatch.setattr(waiter, "failed", failures.append)
        while not rounds.sights or not rounds.sights[-1].unchanged:
            await asyncio.sleep(0.01)
        before = [waiter.looks for waiter in waiters]
        emulator.fault("status", status=503, times=1)
        while not failures:
            await asyncio.sleep(0.01)
        polls = len(rounds.sights)
        while len(rounds.sights) < polls + 4:
            await asyncio.sleep(0.01)
        assert [waiter.looks for waiter in waiters] == [looks + 1 for looks in before]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(people())


def test_an_outage_of_many_hours_ends_no_wait(
    emulator: Emulator, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_poller, "_LONGEST_BACKOFF", 0.01)
    (id,) = flags(emulator, 1)
    waiter, failures = Waiter(id, looks=2), []
    monkeypatch.setattr(waiter, "failed", failures.append)

    async def people() -> dict[str, Any]:
        waiting = asyncio.ensure_future(poll_until(CONNECTION, waiter))
        while not rounds.sights:
            await asyncio.sleep(0.01)
        (poller,) = shared_poller._watches.values()
        poller._failed = 1023  # as after 17 hours of failed polls, one each minute
        emulator.fault("status", status=503, times=3)
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(people()) == {"looks": 2}
    assert len(failures) == 3


def test_the_last_one_out_closes_the_session(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, rounds: Rounds
) -> None:
    closed: list[object] = []
    close = ManagementClient.close
    monkeypatch.setattr(ManagementClient, "close", lambda client: closed.append(client) or close(client))
    ids = flags(emulator, 2)
    quick, slow = Waiter(ids[0], looks=1), Waiter(ids[1], looks=3)

    async def both() -> int:
        slowly = asyncio.ensure_future(poll_until(CONNECTION, slow))
        await poll_until(CONNECTION, quick)
        before = len(closed)
        await slowly
        return before

    assert asyncio.run(both()) == 0
    assert len(closed) == 1


def test_http_is_not_on_the_event_loop(emulator: Emulator, rounds: Rounds) -> None:
    (id,) = flags(emulator, 1)
    threads: list[int] = []
    rounds.after = lambda count: threads.append(threading.get_ident())
    asyncio.run(all_of([Waiter(id, looks=1)]))
    assert threads
    assert threading.get_ident() not in threads


def test_a_bad_target_is_its_own_failure(emulator: Emulator) -> None:
    ids = flags(emulator, 3)
    events = asyncio.run(all_of([*(Waiter(id, looks=3) for id in ids), Waiter("999")]))
    assert events[:3] == [{"looks": 3}] * 3
    assert "flag 999 does not exist" in events[3]["error"]


def test_a_revoked_key_fails_all_of_its_connection_at_once_and_no_other(
    emulator: Emulator, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = flags(emulator, 50)
    connect(monkeypatch, emulator, "other", "ampex_other")
    emulator.load({"keys": [{"key": "ampex_other", "person": "Other", "projects": [emulator.project_id]}]})
    rounds.after = lambda count: count == 4 and revoke(emulator, emulator.api_key)
    slow = [Waiter(id, interval=1000.0) for id in ids[1:]]  # they are not due for a long time

    async def all_of_both() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(
            all_of([Waiter(ids[0]), *slow]), all_of([Waiter(id, looks=12) for id in ids[:3]], "other")
        )

    here, there = asyncio.run(all_of_both())
    assert there == [{"looks": 12}] * 3
    assert len(here) == 50
    assert {event["error"] for event in here} == {here[0]["error"]}
    assert "does not accept the management API key" in here[0]["error"]
    assert emulator.api_key not in here[0]["error"]
    assert emulator.requests()["by_status"]["401"] == 1


def test_a_key_that_was_changed_in_the_connection_fails_nobody(
    emulator: Emulator, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = flags(emulator, 3)

    def rotate(count: int) -> None:
        if count == 2:
            emulator.load({"keys": [{"key": "ampex_new", "person": "New", "projects": [emulator.project_id]}]})
            connect(monkeypatch, emulator, CONNECTION, "ampex_new")
            revoke(emulator, emulator.api_key)

    rounds.after = rotate
    assert asyncio.run(all_of([Waiter(id, looks=5) for id in ids])) == [{"looks": 5}] * 3
    assert emulator.requests()["by_status"] == {"401": 1, "200": 5}


def test_an_edited_connection_is_seen_by_who_joins(
    emulator: Emulator, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = flags(emulator, 2)
    emulator.load({"keys": [{"key": "ampex_new", "person": "New", "projects": [emulator.project_id]}]})

    async def edited() -> None:
        first = asyncio.ensure_future(poll_until(CONNECTION, Waiter(ids[0], looks=6)))
        while len(rounds.sights) < 2:
            await asyncio.sleep(0.01)
        connect(monkeypatch, emulator, CONNECTION, "ampex_new")
        assert await poll_until(CONNECTION, Waiter(ids[1], looks=2)) == {"looks": 2}
        assert await first == {"looks": 6}

    asyncio.run(edited())
    people = [request["person"] for request in emulator.request_log()]
    assert people[:2] != ["New", "New"]
    assert people[-1] == "New"


def test_a_connection_that_is_gone_fails_only_who_joins(
    emulator: Emulator, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = flags(emulator, 2)

    async def removed() -> None:
        first = asyncio.ensure_future(poll_until(CONNECTION, Waiter(ids[0], looks=6)))
        while len(rounds.sights) < 2:
            await asyncio.sleep(0.01)
        monkeypatch.delenv("AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT")
        assert CONNECTION in (await poll_until(CONNECTION, Waiter(ids[1])))["error"]
        assert await first == {"looks": 6}

    asyncio.run(removed())


def test_each_waiter_logs_where_its_own_task_does(emulator: Emulator) -> None:
    ids = flags(emulator, 3)
    mine: ContextVar[str] = ContextVar("mine")
    told: list[tuple[str, str | None]] = []

    class Teller(Waiter):
        def saw(self, config: Any, client: Any) -> dict[str, Any] | None:
            told.append((self.id, mine.get(None)))
            return super().saw(config, client)

    async def one(id: str) -> None:
        mine.set(id)
        await poll_until(CONNECTION, Teller(id, looks=2))

    async def everybody() -> None:
        await asyncio.gather(*map(one, ids))

    asyncio.run(everybody())
    assert sorted(told) == sorted([(id, id) for id in ids] * 2)


def test_a_mistake_leaves_nobody_waiting(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = flags(emulator, 2)

    class Broken(Waiter):
        def saw(self, config: Any, client: Any) -> dict[str, Any] | None:
            raise KeyError("mine")

    async def broken_waiter() -> list[Any]:
        waits = [poll_until(CONNECTION, waiter) for waiter in (Broken(ids[0]), Waiter(ids[1], looks=2))]
        return await asyncio.gather(*waits, return_exceptions=True)

    wrong, right = asyncio.run(broken_waiter())
    assert isinstance(wrong, KeyError)
    assert right == {"looks": 2}

    def broken_look(*args: object) -> ReadResult:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(BatchReader, "look", broken_look)
    assert asyncio.run(all_of([Waiter(id) for id in ids])) == [{"error": "ours"}] * 2


def connect(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, conn_id: str, key: str) -> None:
    connection = {**json.loads(emulator.connection_json), "password": key}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def revoke(emulator: Emulator, key: str) -> None:
    emulator.load({"keys": [{"key": key, "person": "Gone", "projects": [emulator.project_id], "revoked": True}]})


def test_a_look_that_hangs_blinds_nobody_for_good(
    emulator: Emulator, rounds: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_poller, "_LONGEST_ROUND", 0.3)
    (id,) = flags(emulator, 1)
    goes_on = threading.Event()
    see = shared_poller.SharedPoller._see

    def hang_once(watch: Any, lookout: BatchReader, wanted: Any) -> ReadResult:
        if not hung:
            hung.append(lookout)
            goes_on.wait(20)
        return see(watch, lookout, wanted)

    hung: list[BatchReader] = []
    monkeypatch.setattr(shared_poller.SharedPoller, "_see", hang_once)

    async def two_waits() -> list[dict[str, Any]]:
        try:
            first = await poll_until(CONNECTION, Waiter(id))
            return [first, await poll_until(CONNECTION, Waiter(id, looks=2))]
        finally:
            goes_on.set()

    failed, seen = asyncio.run(two_waits())
    assert "timed out after 0.3 s" in failed["error"]
    assert seen == {"looks": 2}
