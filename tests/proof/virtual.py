"""Virtual time, which passes only while all actors sleep. A rollout of days takes milliseconds.

An actor is a task's process or a trigger. It is a greenlet that runs until it sleeps, and then the next due actor
continues. So two attempts at the same time take turns at each request, and the same story always has the same result.
"""

from __future__ import annotations

import asyncio
import datetime as real
import functools
import heapq
import inspect
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pkgutil import walk_packages
from types import SimpleNamespace
from typing import Any

import greenlet
import tenacity.nap

import airflow_provider_ampexp
from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp.polling import _shared_poller as shared_poller

BEGIN = real.datetime(2026, 3, 2, 8, tzinfo=real.timezone.utc)  # a Monday


class Killed(BaseException):
    """The death of a process. Only the code that handles deaths catches this exception."""


class TooLong(Exception):
    """The story does not end."""


class Actor:
    """A process or a trigger, with a clock that may be wrong."""

    def __init__(self, timeline: Timeline, work: Callable[[], object], skew: float, attempt: int | None) -> None:
        self.skew = skew
        self.attempt = attempt
        self.sleeps = 0
        self.event_loop = EventLoop(timeline)
        self._timeline = timeline
        self._greenlet = greenlet.greenlet(work, parent=timeline.hub)
        self._greenlet.actor = self  # type: ignore[attr-defined]

    def go_on(self) -> None:
        self._greenlet.switch()

    def kill(self) -> None:
        """Kill the actor where it sleeps. Only a planned call of the timeline may do this, not an actor."""
        if not self._greenlet.dead:
            self._greenlet.throw(Killed)


class DirectCall:
    """The replacement for a call in a thread with a time limit. The function runs at once, without a limit."""

    is_running = False

    def __init__(self, function: Callable[[], Any], name: str) -> None:
        self._result: Any = None
        self._error: Exception | None = None
        try:
            self._result = function()
        except Exception as error:
            self._error = error

    def result(self, seconds: float) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class EventLoop:
    """The event loop of a triggerer, with the methods that the poll of one trigger needs."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: list[Coroutine[Any, Any, None]] = []

    def time(self) -> float:
        return self._timeline.seconds

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def create_task(self, task: Coroutine[Any, Any, None]) -> object:
        self._tasks.append(task)
        return task

    def call_at(self, when: float, callback: Callable[[], object], *, context: Any = None) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, (), self)  # type: ignore[arg-type]
        self._timers.append(timer)
        return timer

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        pass

    def run_until(self, future: asyncio.Future[Any]) -> None:
        """Run the timers and tasks until a future is done. They only sleep in the timeline, and await nothing else."""
        while not future.done():
            timer = min((timer for timer in self._timers if not timer.cancelled()), key=asyncio.TimerHandle.when)
            self._timers.remove(timer)
            if timer.when() > self.time():
                self._timeline.sleep(timer.when() - self.time())
            timer._run()
            while self._tasks:
                with suppress(StopIteration):
                    self._tasks.pop().send(None)
                    raise AssertionError("it awaits something else than the timeline")


class Timeline:
    """The time of the service, and the planned calls."""

    def __init__(self, longest: int = 2_500) -> None:
        self.seconds = 0.0
        self.hub = greenlet.getcurrent()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._longest = longest

    @property
    def now(self) -> real.datetime:
        return BEGIN + real.timedelta(seconds=self.seconds)

    @property
    def actor(self) -> Actor | None:
        """The actor that runs now; ``None`` in a planned call."""
        found: Actor | None = getattr(greenlet.getcurrent(), "actor", None)
        return found

    def at(self, seconds: float, call: Callable[[], object]) -> None:
        """Plan a call at a time."""
        self._count += 1
        heapq.heappush(self._due, (max(seconds, self.seconds), self._count, call))

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        self.at(self.seconds + seconds, call)

    def begin(self, work: Callable[[], object], *, skew: float = 0.0, attempt: int | None = None) -> Actor:
        """Start an actor."""
        actor = Actor(self, work, skew, attempt)
        self.at(self.seconds, actor.go_on)
        return actor

    def sleep(self, seconds: float) -> None:
        """Let the running actor sleep."""
        actor = self.actor
        assert actor is not None
        actor.sleeps += 1
        turn = actor.sleeps

        def wake() -> None:
            if actor.sleeps == turn:  # otherwise the actor was killed
                actor.go_on()

        self.after(seconds, wake)
        self.hub.switch()
        actor.sleeps += 1

    def run(self) -> None:
        """Run all planned calls, in the order of time."""
        while self._due:
            if self._count > self._longest:
                raise TooLong
            self.seconds, _, call = heapq.heappop(self._due)
            call()


@contextmanager
def told_by(timeline: Timeline) -> Iterator[None]:
    """Let the provider, its emulator and its libraries use this timeline as their clock, and sleep in it."""

    class Moment(real.datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> Any:
            skew = timeline.actor.skew if timeline.actor else 0.0
            return (timeline.now + real.timedelta(seconds=skew)).astimezone(tz)

    async def sleep(seconds: float) -> None:
        timeline.sleep(seconds)

    async def to_thread(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    async def wait_at_most(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
        return await work

    clock = SimpleNamespace(
        time=lambda: timeline.now.timestamp(), monotonic=lambda: timeline.seconds, sleep=timeline.sleep
    )

    def get_running_loop() -> EventLoop:
        assert timeline.actor is not None
        return timeline.actor.event_loop

    loop = SimpleNamespace(sleep=sleep, to_thread=to_thread, get_running_loop=get_running_loop)
    loop.TimeoutError = asyncio.TimeoutError
    new = {time: clock, asyncio: loop, real.datetime: Moment}
    places = [(module, name, substitute) for old, substitute in new.items() for module, name in _looks_at(old)]
    more = [
        (tenacity, "time", clock),
        (tenacity.nap, "time", clock),
        (limited_call, "begin", DirectCall),
        (shared_poller, "wait_at_most", wait_at_most),
    ]
    with _instead([*places, *more]):
        yield


@contextmanager
def _instead(places: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    for module, name, new in places:
        setattr(module, name, new)
    try:
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)


def _load_every_module() -> None:
    """Import all modules of the provider, because the clocks of a module that is imported later would not be replaced.

    Hypothesis also draws constants of the imported modules. With all modules, each run generates the same histories.
    """
    for module in walk_packages(airflow_provider_ampexp.__path__, "airflow_provider_ampexp."):
        if not module.name.endswith("__main__") and ".ui" not in module.name:  # the page loads Airflow's api-server
            import_module(module.name)


_load_every_module()


@functools.cache
def _looks_at(old: Any) -> list[tuple[Any, str]]:
    """Return the module attributes of the provider that are this module, or this class if the module calls ``now``."""
    return [
        (module, name)
        for module_name, module in list(sys.modules.items())
        if module_name.startswith("airflow_provider_ampexp.")
        for name, value in vars(module).items()
        if value is old and (old is not real.datetime or "datetime.now(" in inspect.getsource(module))
    ]
