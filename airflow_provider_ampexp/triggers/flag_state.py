"""The wait of a sensor, in the triggerer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.exceptions import Refusals, is_retryable
from airflow_provider_ampexp.links._url_xcom import URL_XCOM_KEY
from airflow_provider_ampexp.polling._check_once import seen, why_never
from airflow_provider_ampexp.polling._conditions import from_plain
from airflow_provider_ampexp.polling._shared_poller import Event, poll_until

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig, Json

LOOKS_WHILE_REFUSED = 30.0
"""Seconds between two looks, at most, until it is known whether a refusal lasts."""

GRACE = 600.0
"""Seconds after which Airflow itself ends a wait whose trigger nobody runs."""

_LAST_LOOK_TAKES = 60.0  # seconds after the deadline within which a last look may come back


class AmplitudeFlagStateTrigger(BaseTrigger):
    """Looks at a flag or experiment until it is as wanted, can never be, or time is over.

    It only reads and remembers nothing, so a restarted triggerer takes it up where it was. All that wait for flags of
    one connection look together, so that a thousand waits cost the requests of one. It ends with one event::

        {"status": "met", "why": ..., "seen": {...}}
        {"status": "never", "why": ..., "seen": {...}}
        {"status": "timeout", "why": <what was last seen>, "seen": {...}}
        {"status": "error", "why": ..., "is_retryable": <whether a retry can fix it>}

    It never raises: Airflow would not call the sensor again then.

    :param amplitude_conn_id: the connection. Airflow keeps these arguments as plain text, so there is no key here.
    :param kind: ``flags`` or ``experiments``
    :param id: the id, or
    :param key: the key
    :param project_id: the project in which the key is looked up; that of the connection if not given
    :param condition: what is waited for, as :func:`~airflow_provider_ampexp.polling._conditions.as_plain` writes it
    :param poll_interval: seconds between two looks, at most
    :param deadline: when to give up, in seconds since 1970; if not given, 600 s before Airflow does
    :param failures: how many looks in a row may fail for reasons that may pass; ``None`` for any number
    :param ends_task: what is met ends the task here, with what was seen as its result and without a worker; anything
        else resumes it on one
    :param was_seen: whether it was seen before this trigger began, so that a 404 or an unknown connection may pass
    :param of_other_versions: arguments that another version of this provider stored, and this one does not know
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
        self.timeout_after: datetime | None = None  # is set by the triggerer

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again: plain JSON values."""
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
        """Leave the arguments as they are: a wait that begins here has no templates."""

    @property
    def target(self) -> FlagRef:
        """What is watched."""
        key, id, project_id = (None if one is None else str(one) for one in (self.key, self.id, self.project_id))
        return FlagRef(self.kind, key=key, id=id, project_id=project_id)

    @property
    def ends_at(self) -> float:
        """When to give up, in seconds since 1970: the same after a restart of the triggerer."""
        if self.deadline is not None:
            return self.deadline
        if self.timeout_after is None:
            return math.inf
        return self.timeout_after.replace(tzinfo=self.timeout_after.tzinfo or timezone.utc).timestamp() - GRACE

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how it ended."""
        try:
            event = await self._until_over()
        except Exception as error:
            event = {"status": "error", "is_retryable": True, "why": f"{type(error).__name__}: {error}"}
        if self.ends_task and event["status"] == "met":
            found = event["seen"]
            yield TaskSuccessEvent(xcoms={"return_value": found, URL_XCOM_KEY: found.get("url")})
        else:
            yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _until_over(self) -> Event:
        wait = _Wait(self)
        # Rounds may be slow, or held up for hours by a 429.
        left = max(self.ends_at - time.time(), 0)
        at_most = left + _LAST_LOOK_TAKES if left < math.inf else None
        try:
            return await asyncio.wait_for(poll_until(str(self.amplitude_conn_id), wait), at_most)
        except asyncio.TimeoutError:
            return wait.timed_out()


class _Wait:
    """Waits with the others of its connection."""

    def __init__(self, trigger: AmplitudeFlagStateTrigger) -> None:
        self.target = trigger.target
        self.interval = self._interval = trigger.poll_interval
        self._was_seen = trigger.was_seen
        self._refusals = Refusals()
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
        self._refusals.are_over()
        self.interval = self._interval
        if verdict.status != "waiting":
            return {"status": verdict.status, "why": verdict.why, "seen": self._seen}
        if verdict.why != self._last:
            self._log.info("%s: %s.", self.target, verdict.why)
            if verdict.unknown:
                self._log.warning("%r is not a state that this provider knows; waiting on.", verdict.unknown)
        self._last = verdict.why
        return self._at_the_end()

    def failed(self, error: Exception) -> Event | None:
        if isinstance(error, TargetNotFoundError) and (not self._was_seen or self._refusals.are_final(error)):
            return {"status": "never", "why": why_never(self.target, error), "seen": {}}
        if not is_retryable(error):
            is_unknown = isinstance(error, AirflowNotFoundException) and not self._was_seen
            if not is_unknown and not self._refusals.are_final(error):
                self.interval = min(self._interval, LOOKS_WHILE_REFUSED)
                return self._at_the_end()
            return {"status": "error", "is_retryable": False, "why": str(error)}
        self._failures += 1
        if self._failures == 1:
            self._log.warning("A look failed, which may pass: %s", error)
        if self._failures == self._limit:
            why = f"{self._failures} looks in a row failed. Last: {error}"
            return {"status": "error", "is_retryable": True, "why": why}
        return self._at_the_end()

    def timed_out(self) -> Event:
        return {"status": "timeout", "why": self._last, "seen": self._seen}

    def _at_the_end(self) -> Event | None:
        return self.timed_out() if self._deadline <= time.time() else None
