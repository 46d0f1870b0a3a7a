"""Tasks on different machines remove inclusions by place, with thousands of generated orders of their requests.

Each task is a thread, and one thread runs at a time: the thread whose next request is due first, in virtual time. So
an order can be repeated by its number. The list takes the place of the service.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from heapq import heappop, heappush
from types import SimpleNamespace

import pytest

from airflow_provider_ampexp.client import NotFoundError, UnsupportedError
from airflow_provider_ampexp.ensure import ChangeNotVisibleError, UnconfirmedWriteError
from airflow_provider_ampexp.ensure import _inclusion_list as inclusion_list

PEOPLE = [f"user-{number:02}" for number in range(12)]


class VirtualTime:
    """Run the thread that is due first, until it pauses or ends."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, threading.Semaphore]] = []
        self._count = 0
        self._own = threading.local()

    def run(self, tasks: list[Callable[[], None]]) -> None:
        threads = [threading.Thread(target=self._run, args=(task, self._enter())) for task in tasks]
        for thread in threads:
            thread.start()
        self._wake_next()
        for thread in threads:
            thread.join()

    def pause(self, seconds: float) -> None:
        self._schedule(self._own.turn, self._now + seconds)
        self._wake_next()
        self._own.turn.acquire()

    def _enter(self) -> threading.Semaphore:
        turn = threading.Semaphore(0)
        self._schedule(turn, 0)
        return turn

    def _schedule(self, turn: threading.Semaphore, at: float) -> None:
        self._count += 1
        heappush(self._due, (at, self._count, turn))

    def _run(self, task: Callable[[], None], turn: threading.Semaphore) -> None:
        self._own.turn = turn
        turn.acquire()
        try:
            task()
        finally:
            self._wake_next()

    def _wake_next(self) -> None:
        if self._due:
            self._now, _, turn = heappop(self._due)
            turn.release()


class ListService:
    """The endpoints of one list. Each request and each response takes a random time."""

    def __init__(self, time: VirtualTime, chance: random.Random, slowest: float) -> None:
        self.people = list(PEOPLE)
        self._pause = lambda: time.pause(chance.choice([0.005, 0.01, 0.02, 0.05, slowest]))

    def inclusions(self, flag_id: str, variant: str) -> list[str]:
        self._pause()
        people = list(self.people)
        self._pause()
        return people

    def add_inclusions(self, flag_id: str, variant: str, users: list[str]) -> None:
        self._pause()
        self.people += users
        self._pause()

    def remove_inclusion(self, flag_id: str, variant: str, place: int) -> None:
        self._pause()
        exists = place < len(self.people)
        if exists:
            del self.people[place]
        self._pause()
        if not exists:
            raise NotFoundError("DELETE", "/inclusions", status=404)

    def remove_inclusions(self, flag_id: str, variant: str, users: list[str]) -> None:
        raise UnsupportedError("DELETE", "/inclusions", status=405)


def remove_at_once(users: list[str], number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """Remove each user in a separate task. Return the list after all tasks, and the messages of the tasks."""
    chance = random.Random(number)
    time = VirtualTime()
    service = ListService(time, chance, slowest=chance.choice([0.05, 0.4, 1.0]))
    said: list[str] = []

    def read_until(
        client: object, read: Callable[[], list[str]], shows: Callable[[list[str]], bool], *, patient: bool = True
    ) -> tuple[list[str], bool]:
        for _ in range(4):
            if shows(found := read()):
                return found, True
            time.pause(0.6)
        return found, False

    monkeypatch.setattr(inclusion_list, "in_turn", lambda *names: nullcontext())
    monkeypatch.setattr(inclusion_list, "read_until", read_until)
    monkeypatch.setattr(inclusion_list, "time", SimpleNamespace(sleep=time.pause))

    class Client(SimpleNamespace):
        __hash__ = object.__hash__

    def remove(user: str) -> None:
        identity = SimpleNamespace(id="1", key="checkout", url=lambda client: "")
        target = SimpleNamespace(kind="flags", endpoints=lambda client: service, identify=lambda client: identity)
        client = Client(base_url="", timeout=5)
        changed = inclusion_list.InclusionList(client, target, "on", goes=lambda other: other == user)  # type: ignore[arg-type]
        try:
            said.extend(changed.reconcile().notes)
        except (ChangeNotVisibleError, UnconfirmedWriteError) as error:
            said.append(str(error))

    time.run([lambda user=user: remove(user) for user in users])  # type: ignore[misc]
    return service.people, " ".join(said)


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_each_user_is_in_the_list_as_asked_or_a_task_names_that_user(
    tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        named = random.Random(number).sample(PEOPLE, tasks)
        left, said = remove_at_once(named, number, monkeypatch)
        assert max(Counter(left).values()) == 1, f"order {number}: twice in {left}"
        wrong = set(left) ^ (set(PEOPLE) - set(named))
        assert not [user for user in wrong if user not in said], f"order {number}: {wrong}, but the tasks say: {said}"
