"""One poll for all triggers of one connection in one triggerer.

A triggerer is one process with one event loop, and imports this module once. So a thousand waits take the requests of
one. A new or ended trigger does not affect the others.
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
from airflow_provider_ampexp.polling._time_limit import wait_at_most

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig
    from airflow_provider_ampexp.ensure._flag_ref import FlagRef
    from airflow_provider_ampexp.hooks._connection import ConnectionFields

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE = 0.1
_LONGEST_BACKOFF = 60.0
_MOST_DOUBLINGS = 10
_LONGEST_ROUND = 300.0
_JOIN_DELAY = 1.0  # the longest time in seconds that a new subscriber waits for others

Event = dict[str, Any]


class Subscriber(Protocol):
    """A wait for a flag or experiment. The poller calls its methods in the event loop, so they must be fast."""

    target: FlagRef
    interval: float
    """The longest time in seconds between two polls."""

    def seconds_left(self, now: datetime) -> float:
        """Return the seconds until the last poll. ``now`` is on the service's clock if that is known."""

    def saw(self, config: FlagConfig, client: ManagementClient) -> Event | None:
        """Judge a configuration: return the event that ends the wait, or ``None`` to continue."""

    def failed(self, error: Exception) -> Event | None:
        """Judge a failed poll: return the event that ends the wait, or ``None`` to continue."""


async def poll_until(amplitude_conn_id: str, waiter: Subscriber) -> Event:
    """Poll together with all other waits of this connection, until the subscriber ends its wait.

    A new subscriber is polled within one second. The poller reads an edited connection when the next subscriber joins.
    """
    loop = asyncio.get_running_loop()
    place = loop, amplitude_conn_id
    shared = _watches.get(place)
    if shared is None:
        shared = _watches[place] = SharedPoller(amplitude_conn_id, loop)
    entry = shared.join(waiter)
    try:
        return await entry.over
    finally:
        shared.leave(entry)


@dataclass(eq=False)
class _Subscription:
    """The state of a subscriber in the poller."""

    waiter: Subscriber
    over: asyncio.Future[Event]
    due: float
    context: Context = field(default_factory=copy_context)  # its log lines go to its task
    is_new: bool = True
    has_judged: bool = False
    """The subscriber judged a configuration, and no poll failed since. If not, it needs one, also without a change."""


@dataclass(frozen=True)
class _Round:
    """The flags and subscribers of one poll."""

    due: Set[FlagRef]
    soon: Set[FlagRef]
    watched: Set[FlagRef]
    needed: Set[FlagRef]
    joined: list[_Subscription]


class SharedPoller:
    """The polls of one connection. They never overlap, and HTTP runs in a thread.

    A poll begins when the first subscriber is due. It also reports to subscribers that are not due, if that takes no
    more requests. So the shortest interval decides for all.
    """

    def __init__(self, amplitude_conn_id: str, loop: asyncio.AbstractEventLoop) -> None:
        self._conn_id = amplitude_conn_id
        self._loop = loop
        self._entries: dict[FlagRef, set[_Subscription]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._began = self._not_before = float("-inf")
        self._failed = 0
        self._given_up = 0
        self._fields: ConnectionFields | None = None
        self._reader: BatchReader | None = None

    def join(self, waiter: Subscriber) -> _Subscription:
        """Add a subscriber. Its first poll is due at once, or a moment later so that others can join."""
        due = max(self._loop.time(), self._began + min(_JOIN_DELAY, waiter.interval))
        entry = _Subscription(waiter, self._loop.create_future(), due)
        self._entries.setdefault(entry.waiter.target, set()).add(entry)
        self._wake_at(due)
        return entry

    def leave(self, entry: _Subscription) -> None:
        """Remove a subscriber. The last one ends the poller."""
        entries = self._entries[entry.waiter.target]
        entries.discard(entry)
        if not entries:
            del self._entries[entry.waiter.target]
        self._end_if_alone()

    # -- when -------------------------------------------------------------------------------------------------------

    def _wake_at(self, due: float) -> None:
        """Start a poll at this time, or earlier if one is already planned."""
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
        due_at = {target: min(entry.due for entry in entries) for target, entries in self._entries.items()}
        entries = [
            entry for target, at in due_at.items() if at <= now for entry in self._entries[target] if entry.due <= now
        ]
        before_the_next = now + min((entry.waiter.interval for entry in entries), default=0.0)
        service_now = self._service_now()
        return _Round(
            due={entry.waiter.target for entry in entries},
            soon={target for target, at in due_at.items() if at <= before_the_next},
            watched=due_at.keys(),
            needed={
                entry.waiter.target
                for entry in entries
                if not entry.has_judged or entry.waiter.seconds_left(service_now) <= 0
            },
            joined=[entry for entry in entries if entry.is_new],
        )

    def _service_now(self) -> datetime:
        date = self._reader.client.date if self._reader is not None else None
        return date or datetime.now(timezone.utc)

    # -- a poll -----------------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        self._began = self._loop.time()
        wanted = self._plan(self._began)
        try:
            if wanted.due:
                look = asyncio.to_thread(self._look, wanted, self._given_up)
                self._tell(wanted, await wait_at_most(_LONGEST_ROUND, look))
        except asyncio.TimeoutError:
            self._give_up()
            why = f"Polling with connection {self._conn_id!r} failed: timed out after {_LONGEST_ROUND:g} s."
            self._tell(wanted, ReadResult(error=TimeoutError(why)))
        except Exception as error:
            # An internal error must not leave a wait without an end.
            self._tell(wanted, ReadResult(error=error))
        finally:
            self._running = None
            self._end_if_alone()
            if self._entries:
                self._wake_at(min(entry.due for entries in self._entries.values() for entry in entries))

    def _give_up(self) -> None:
        """Leave the client to the thread that hangs. The next poll creates its own client."""
        self._given_up += 1
        self._fields = self._reader = None

    def _look(self, wanted: _Round, given_up: int) -> ReadResult:
        """Poll in a thread, because reading the connection and HTTP may block.

        :param given_up: the number of abandoned polls at the start of this poll
        """
        disconnected = self._connect(given_up) if wanted.joined or self._reader is None else None
        if self._reader is None:
            return ReadResult(error=disconnected)
        reader = self._reader
        result = self._see(reader, wanted)
        if (
            isinstance(result.error, AuthenticationError)
            and self._connect(given_up) is None
            and self._reader is not reader
        ):
            result = self._see(self._reader, wanted)  # a person changed the key
        result.disconnected = disconnected
        return result

    def _see(self, reader: BatchReader, wanted: _Round) -> ReadResult:
        before = reader.client.requests.total
        result = reader.look(wanted.due, wanted.soon, wanted.watched, wanted.needed)
        _log.debug(
            "%s: %d of %d were due; saw %d and %d unchanged with %d requests. %s",
            self._conn_id,
            len(wanted.due),
            len(wanted.watched),
            len(result.configs),
            len(result.unchanged),
            reader.client.requests.total - before,
            result.error or "",
        )
        return result

    def _connect(self, given_up: int) -> Exception | None:
        """Read the connection, and create a new client if it was edited. Returns the connection's error."""
        try:
            fields = AmplitudeExperimentHook(self._conn_id).fields
            if given_up != self._given_up:
                return TimeoutError("This poll was abandoned.")
            if fields != self._fields:
                # No retries inside of a call: the next poll is the retry.
                client = fields.connect(retry_for=0)
                client.requests.on_each = count_in_the_triggerer
                self._close()
                self._fields, self._reader = fields, BatchReader(client, fields.project_id)
        except Exception as error:
            return error
        return None

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    # -- results ----------------------------------------------------------------------------------------------------

    def _tell(self, wanted: _Round, result: ReadResult) -> None:
        self._slow_down(result)
        self._told_at = self._service_now()
        for target, config in result.configs.items():
            assert self._reader is not None
            for entry in self._entries.get(target, ()):
                entry.has_judged = True
                self._ask(entry, entry.waiter.saw, config, self._reader.client)
        for target in result.unchanged:
            for entry in self._entries.get(target, ()):
                self._go_on(entry)
        for target, error in result.refused.items():
            self._fail(target, error)
        if result.error is not None:
            seen = result.configs.keys() | result.unchanged | result.refused.keys()
            is_of_all = isinstance(result.error, AuthenticationError)
            for target in (wanted.watched if is_of_all else wanted.due) - seen:
                self._fail(target, result.error)
        elif result.disconnected is not None:
            for entry in wanted.joined:
                self._ask_failed(entry, result.disconnected)
                entry.is_new = True

    def _fail(self, target: FlagRef, error: Exception) -> None:
        for entry in self._entries.get(target, ()):
            self._ask_failed(entry, error)

    def _ask_failed(self, entry: _Subscription, error: Exception) -> None:
        entry.has_judged = False
        self._ask(entry, entry.waiter.failed, error)

    def _ask(self, entry: _Subscription, judge: Any, *seen: object) -> None:
        if entry.over.done():
            return
        try:
            event = entry.context.run(judge, *seen)
        except Exception as error:
            entry.over.set_exception(error)
            return
        if event is not None:
            entry.over.set_result(event)
        self._go_on(entry)

    def _go_on(self, entry: _Subscription) -> None:
        entry.is_new = False
        its_end = self._loop.time() + entry.waiter.seconds_left(self._told_at)
        entry.due = max(min(self._began + entry.waiter.interval, its_end), self._began + _SHORTEST_PAUSE)

    def _slow_down(self, result: ReadResult) -> None:
        """Delay the next poll: after a 429 as it says, and after polls without a result twice as long each time."""
        if result.error is None or result.configs or result.unchanged:
            self._failed = 0
        else:
            self._failed += 1
        pause = min(2.0 ** min(self._failed, _MOST_DOUBLINGS), _LONGEST_BACKOFF) if self._failed else 0.0
        if isinstance(result.error, RateLimitError):
            pause = max(pause, result.error.retry_after or 1.0)
        self._not_before = self._loop.time() + pause

    # -- the end ----------------------------------------------------------------------------------------------------

    def _end_if_alone(self) -> None:
        if self._entries or self._running is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._close()
        _watches.pop((self._loop, self._conn_id), None)


_watches: dict[tuple[asyncio.AbstractEventLoop, str], SharedPoller] = {}
