"""The wait of a sensor, in the triggerer. Airflow loads the trigger by its class path; a sensor makes it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_provider_ampexp._keys import URL_XCOM
from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._refusals import describe_failed_poll
from airflow_provider_ampexp.exceptions import is_retryable, refusals
from airflow_provider_ampexp.polling._check_once import seen, why_never
from airflow_provider_ampexp.polling._conditions import from_plain
from airflow_provider_ampexp.polling._shared_poller import Event, poll_until
from airflow_provider_ampexp.polling._statuses import WaitStatus
from airflow_provider_ampexp.polling._time_limit import wait_at_most

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig, Json

__all__ = ["AmplitudeFlagStateTrigger"]

LOOKS_WHILE_REFUSED = 30.0
"""The longest time in seconds between two polls until a refusal is final."""

GRACE = 600.0
"""Seconds after which Airflow itself ends a wait whose trigger does not run."""

_LAST_LOOK_TAKES = 60.0  # seconds after the deadline during which the last poll may end


class AmplitudeFlagStateTrigger(BaseTrigger):
    """Poll a flag or experiment until the condition is met, can no longer be met, or the time is over.

    The trigger only reads and has no state, so a restarted triggerer continues it. All waits for flags of one
    connection share one poll, so a thousand waits take the requests of one. The trigger ends with one event::

        {"status": "met", "why": ..., "seen": {...}}
        {"status": "never", "why": ..., "seen": {...}}
        {"status": "timeout", "why": <the last values>, "seen": {...}}
        {"status": "error", "why": ..., "is_retryable": <true if a retry can fix it>}

    It never raises, because Airflow would then not resume the sensor.

    :param amplitude_conn_id: the connection's id. Airflow stores these arguments as plain text, so they have no key.
    :param kind: ``flags`` or ``experiments``
    :param id: the id, or
    :param key: the key
    :param project_id: the project of the key; default: the connection's
    :param condition: the condition, as :func:`~airflow_provider_ampexp.polling._conditions.as_plain` writes it
    :param poll_interval: the longest time in seconds between two polls
    :param deadline: the end of the wait, in seconds since 1970; default: 600 s before Airflow ends it
    :param failures: the number of consecutive polls that may fail for temporary reasons; ``None`` for no limit
    :param ends_task: true to end the task in the triggerer when the condition is met, with the values as its result.
        Any other event resumes the task on a worker.
    :param was_seen: true if an earlier poll saw the flag, so that a 404 or an unknown connection may be temporary
    :param of_other_versions: unknown arguments that another version of this provider stored
    """

    def __init__(
        self,
        *,
        amplitude_conn_id: str,
        kind: Kind,
        condition: Mapping[str, Any],
        poll_interval: float,
        failures: int | None,
        id: str | None = None,
        key: str | None = None,
        project_id: str | None = None,
        deadline: float | None = None,
        ends_task: bool = False,
        was_seen: bool = False,
        **of_other_versions: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.amplitude_conn_id = amplitude_conn_id
        self.kind = kind
        self.id = id
        self.key = key
        self.project_id = project_id
        self.condition = condition
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.failures = failures
        self.ends_task = ends_task
        self.was_seen = was_seen
        self.timeout_after: datetime | None = None  # set by the triggerer

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments of this trigger as JSON values."""
        return (
            "airflow_provider_ampexp.triggers.flag_state.AmplitudeFlagStateTrigger",
            {
                "amplitude_conn_id": self.amplitude_conn_id,
                "kind": self.kind,
                "id": self.id,
                "key": self.key,
                "project_id": self.project_id,
                "condition": dict(self.condition),
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "failures": self.failures,
                "ends_task": self.ends_task,
                "was_seen": self.was_seen,
            },
        )

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Leave the arguments unchanged: a wait that starts in the triggerer has no templates."""

    @property
    def target(self) -> FlagRef:
        """The flag or experiment."""
        key, id, project_id = (None if value is None else str(value) for value in (self.key, self.id, self.project_id))
        return FlagRef(self.kind, key=key, id=id, project_id=project_id)

    @property
    def ends_at(self) -> float:
        """The end of the wait, in seconds since 1970, the same after a restart of the triggerer."""
        if self.deadline is not None:
            return self.deadline
        if self.timeout_after is None:
            return math.inf
        return self.timeout_after.replace(tzinfo=self.timeout_after.tzinfo or timezone.utc).timestamp() - GRACE

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the event that ends the wait."""
        try:
            event = await self._until_over()
        except Exception as error:
            event = {"status": WaitStatus.ERROR.value, "is_retryable": True, "why": f"{type(error).__name__}: {error}"}
        if self.ends_task and event["status"] == WaitStatus.MET:
            found = event["seen"]
            yield TaskSuccessEvent(xcoms={"return_value": found, URL_XCOM: found.get("url")})
        else:
            yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _until_over(self) -> Event:
        wait = _Wait(self)
        # Polls may be slow, or delayed for hours by a 429.
        left = max(self.ends_at - time.time(), 0)
        at_most = left + _LAST_LOOK_TAKES if left < math.inf else None
        try:
            return await wait_at_most(at_most, poll_until(str(self.amplitude_conn_id), wait))
        except asyncio.TimeoutError:
            return wait.timed_out()


class _Wait:
    """A subscriber of the shared poll."""

    def __init__(self, trigger: AmplitudeFlagStateTrigger) -> None:
        self.target = trigger.target
        self.interval = self._interval = trigger.poll_interval
        self._was_seen = trigger.was_seen
        # Airflow restarts such a wait from its arguments, so nothing shows whether the connection was known before.
        self._began_here = trigger.ends_task
        self._last_refusal = ""
        self._refusals = refusals()
        self._condition = from_plain(trigger.condition)
        self._deadline = trigger.ends_at
        self._limit = trigger.failures
        self._failures = 0
        self._last = "nothing"
        self._seen: dict[str, Json] = {}
        self._log = trigger.log

    def seconds_left(self, now: datetime) -> float:
        return self._deadline - time.time()

    def saw(self, config: FlagConfig, client: ManagementClient) -> Event | None:
        try:
            verdict = seen(client, self._condition, config)
        except Exception as error:
            return self.failed(error)
        self._failures = 0
        self._was_seen = True
        self._seen = dict(verdict.seen)
        self._last_refusal = ""
        self._refusals.are_over()
        self.interval = self._interval
        if verdict.status != WaitStatus.WAITING:
            return {"status": verdict.status.value, "why": verdict.why, "seen": self._seen}
        if verdict.why != self._last:
            self._log.info("%s: %s.", self.target, verdict.why)
            if verdict.unknown:
                self._log.warning("%r is an undocumented state; the wait continues.", verdict.unknown)
        self._last = verdict.why
        return self._at_the_end()

    def failed(self, error: Exception) -> Event | None:
        if isinstance(error, TargetNotFoundError) and (not self._was_seen or self._refusals.are_final(error)):
            return {"status": WaitStatus.NEVER.value, "why": why_never(self.target, error), "seen": {}}
        if not is_retryable(error):
            is_unknown = isinstance(error, AirflowNotFoundException) and not self._was_seen and not self._began_here
            if not is_unknown and not self._refusals.are_final(error):
                if self._last_refusal != str(error):
                    self._log.warning("%s", describe_failed_poll(self.target, error, is_refusal=True))
                self._last_refusal = str(error)
                self.interval = min(self._interval, LOOKS_WHILE_REFUSED)
                return self._at_the_end()
            return {"status": WaitStatus.ERROR.value, "is_retryable": False, "why": str(error)}
        self._failures += 1
        if self._failures == 1:
            self._log.warning("%s", describe_failed_poll(self.target, error, is_refusal=False))
        if self._failures == self._limit:
            why = f"{self._failures} polls in a row failed. Cause: {error}"
            return {"status": WaitStatus.ERROR.value, "is_retryable": True, "why": why}
        return self._at_the_end()

    def timed_out(self) -> Event:
        return {"status": WaitStatus.TIMEOUT.value, "why": self._last, "seen": self._seen}

    def _at_the_end(self) -> Event | None:
        return self.timed_out() if self._deadline <= time.time() else None
