"""One watch for all who wait: the triggers of one connection, in one triggerer, look together.

A triggerer is one process with one event loop, and imports this module once. So a thousand waits cost the requests of
one, and a trigger that comes or goes changes nothing for the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_ampexp.client._errors import AuthenticationError, RateLimitError
from airflow_provider_ampexp.hooks._metrics import count_in_the_triggerer
from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
from airflow_provider_ampexp.polling._batch_reader import BatchReader, ReadResult

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig
    from airflow_provider_ampexp.ensure._flag_ref import FlagRef
    from airflow_provider_ampexp.hooks._connection import ConnectionFields

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE = 0.1
_LONGEST_BACKOFF = 60.0
_LONGEST_ROUND = 300.0
_JOIN_DELAY = 1.0  # seconds at most for which who joins waits for others to join, too

Event = dict[str, Any]


class Subscriber(Protocol):
    """Who waits for something to become of a flag or experiment. It is called in the event loop, and must be quick."""

    target: FlagRef
    interval: float
    """Seconds between two looks, at most."""

    def seconds_left(self, now: datetime) -> float:
        """How long until it wants a last look. ``now`` is on the service's clock where that tells the time."""

    def saw(self, config: FlagConfig, client: ManagementClient) -> Event | None:
        """What it makes of it: why the wait is over, or ``None`` to go on."""

    def failed(self, error: Exception) -> Event | None:
        """The same of a look that failed."""


async def poll_until(amplitude_conn_id: str, waiter: Subscriber) -> Event:
    """Look together with all others of this connection, until the waiter says that its wait is over.

    Who joins has a look within a second. A connection that was edited counts from the next one who joins on.
    """
    loop = asyncio.get_running_loop()
    place = loop, amplitude_conn_id
    shared = _watches.get(place)
    if shared is None:
        shared = _watches[place] = SharedPoller(amplitude_conn_id, loop)
    seat = shared.join(waiter)
    try:
        return await seat.over
    finally:
        shared.leave(seat)


@dataclass(eq=False)
class _Subscription:
    """A waiter's place in the watch."""

    waiter: Subscriber
    over: asyncio.Future[Event]
    due: float
    context: Context = field(default_factory=copy_context)  # its log is its task's
    is_new: bool = True


@dataclass(frozen=True)
class _Round:
    """Who wants what of one look together."""

    due: Set[FlagRef]
    soon: Set[FlagRef]
    watched: Set[FlagRef]
    ending: Set[FlagRef]
    joined: list[_Subscription]


class SharedPoller:
    """The rounds of one connection. They never overlap, and HTTP runs in a thread.

    A round begins when the first waiter is due, and tells all whom it has seen; so those with the shortest interval set
    the pace, and the others ride along as far as that costs nothing.
    """

    def __init__(self, amplitude_conn_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self._conn_id = amplitude_conn_id
        self._loop = loop
        self._seats: dict[FlagRef, set[_Subscription]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._began = self._not_before = float("-inf")
        self._failed = 0
        self._given_up = 0
        self._fields: ConnectionFields | None = None
        self._lookout: BatchReader | None = None

    def join(self, waiter: Subscriber) -> _Subscription:
        """Take a seat. Its first look is due at once, or in a moment when others may join it."""
        due = max(self._loop.time(), self._began + min(_JOIN_DELAY, waiter.interval))
        seat = _Subscription(waiter, self._loop.create_future(), due)
        self._seats.setdefault(seat.waiter.target, set()).add(seat)
        self._wake_at(due)
        return seat

    def leave(self, seat: _Subscription) -> None:
        """Give it up. The last one ends the watch."""
        seats = self._seats[seat.waiter.target]
        seats.discard(seat)
        if not seats:
            del self._seats[seat.waiter.target]
        self._end_if_alone()

    # -- when -------------------------------------------------------------------------------------------------------

    def _wake_at(self, due: float) -> None:
        """Begin a round then, or earlier if that was planned."""
        when = max(due, self._not_before, self._began + _SHORTEST_PAUSE)
        if self._running is not None or (self._timer is not None and self._timer.when() <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._begin, context=Context())

    def _begin(self) -> None:
        self._timer = None
        self._running = self._loop.create_task(self._round())

    def _plan(self, now: float) -> _Round:
        due_at = {target: min(seat.due for seat in seats) for target, seats in self._seats.items()}
        seats = [seat for target, at in due_at.items() if at <= now for seat in self._seats[target] if seat.due <= now]
        before_the_next = now + min((seat.waiter.interval for seat in seats), default=0.0)
        service_now = self._service_now()
        return _Round(
            due={seat.waiter.target for seat in seats},
            soon={target for target, at in due_at.items() if at <= before_the_next},
            watched=due_at.keys(),
            ending={seat.waiter.target for seat in seats if seat.waiter.seconds_left(service_now) <= 0},
            joined=[seat for seat in seats if seat.is_new],
        )

    def _service_now(self) -> datetime:
        date = self._lookout.client.date if self._lookout is not None else None
        return date or datetime.now(timezone.utc)

    # -- a round ----------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        self._began = self._loop.time()
        wanted = self._plan(self._began)
        try:
            if wanted.due:
                look = asyncio.to_thread(self._look, wanted, self._given_up)
                self._tell(wanted, await asyncio.wait_for(look, _LONGEST_ROUND))
        except asyncio.TimeoutError:
            self._give_up()
            why = f"Looking with connection {self._conn_id!r} failed: no look ended within {_LONGEST_ROUND:g} s."
            self._tell(wanted, ReadResult(trouble=TimeoutError(why)))
        except Exception as error:
            # Nobody is to wait for ever because of a mistake of ours.
            self._tell(wanted, ReadResult(trouble=error))
        finally:
            self._running = None
            self._end_if_alone()
        if self._seats:
            self._wake_at(min(seat.due for seats in self._seats.values() for seat in seats))

    def _give_up(self) -> None:
        """Leave the client to the thread that hangs; the next round makes one of its own."""
        self._given_up += 1
        self._fields = self._lookout = None

    def _look(self, wanted: _Round, given_up: int) -> ReadResult:
        """Runs in a thread, where the connection may be looked up and HTTP may block.

        :param given_up: how many rounds were given up when this one began
        """
        disconnected = self._connect(given_up) if wanted.joined or self._lookout is None else None
        if self._lookout is None:
            return ReadResult(trouble=disconnected)
        lookout = self._lookout
        sight = self._see(lookout, wanted)
        if (
            isinstance(sight.trouble, AuthenticationError)
            and self._connect(given_up) is None
            and self._lookout is not lookout
        ):
            sight = self._see(self._lookout, wanted)  # the key was changed meanwhile
        sight.disconnected = disconnected
        return sight

    def _see(self, lookout: BatchReader, wanted: _Round) -> ReadResult:
        before = lookout.client.requests.total
        sight = lookout.look(wanted.due, wanted.soon, wanted.watched, wanted.ending)
        _log.debug(
            "%s: %d of %d were due; saw %d and %d unchanged with %d requests. %s",
            self._conn_id,
            len(wanted.due),
            len(wanted.watched),
            len(sight.configs),
            len(sight.unchanged),
            lookout.client.requests.total - before,
            sight.trouble or "",
        )
        return sight

    def _connect(self, given_up: int) -> Exception | None:
        """Look the connection up, and begin again if it was edited. Returns what is wrong with it."""
        try:
            fields = AmplitudeExperimentHook(self._conn_id).fields
            if given_up != self._given_up:
                return TimeoutError("This look was given up.")
            if fields != self._fields:
                # No retries inside of a call: the next round is the retry.
                client = fields.connect(retry_for=0)
                client.requests.on_each = count_in_the_triggerer
                self._close()
                self._fields, self._lookout = fields, BatchReader(client, fields.project_id)
        except Exception as error:
            return error
        return None

    def _close(self) -> None:
        if self._lookout is not None:
            self._lookout.close()

    # -- what came of it --------------------------------------------------------------------------------------------

    def _tell(self, wanted: _Round, sight: ReadResult) -> None:
        self._slow_down(sight)
        for target, config in sight.configs.items():
            assert self._lookout is not None
            for seat in self._seats.get(target, ()):
                self._ask(seat, seat.waiter.saw, config, self._lookout.client)
        for target in sight.unchanged:
            for seat in self._seats.get(target, ()):
                self._go_on(seat)
        for target, error in sight.refused.items():
            self._fail(target, error)
        if sight.trouble is not None:
            seen = sight.configs.keys() | sight.unchanged | sight.refused.keys()
            is_of_all = isinstance(sight.trouble, AuthenticationError)
            for target in (wanted.watched if is_of_all else wanted.due) - seen:
                self._fail(target, sight.trouble)
        elif sight.disconnected is not None:
            for seat in wanted.joined:
                self._ask(seat, seat.waiter.failed, sight.disconnected)
                seat.is_new = True

    def _fail(self, target: FlagRef, error: Exception) -> None:
        for seat in self._seats.get(target, ()):
            self._ask(seat, seat.waiter.failed, error)

    def _ask(self, seat: _Subscription, judge: Any, *seen: object) -> None:
        if seat.over.done():
            return
        try:
            event = seat.context.run(judge, *seen)
        except Exception as error:
            seat.over.set_exception(error)
            return
        if event is not None:
            seat.over.set_result(event)
        self._go_on(seat)

    def _go_on(self, seat: _Subscription) -> None:
        seat.is_new = False
        its_end = self._loop.time() + seat.waiter.seconds_left(self._service_now())
        seat.due = max(min(self._began + seat.waiter.interval, its_end), self._began + _SHORTEST_PAUSE)

    def _slow_down(self, sight: ReadResult) -> None:
        """After a 429 as it asks; after rounds in which nothing was seen, twice as long each time."""
        if sight.trouble is None or sight.configs or sight.unchanged:
            self._failed = 0
        else:
            self._failed += 1
        pause = min(2.0**self._failed, _LONGEST_BACKOFF) if self._failed else 0.0
        if isinstance(sight.trouble, RateLimitError):
            pause = max(pause, sight.trouble.retry_after or 1.0)
        self._not_before = self._loop.time() + pause

    # -- the end ----------------------------------------------------------------------------------------------------

    def _end_if_alone(self) -> None:
        if self._seats or self._running is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close()
        _watches.pop((self._loop, self._conn_id), None)


_watches: dict[tuple[asyncio.AbstractEventLoop, str], SharedPoller] = {}
