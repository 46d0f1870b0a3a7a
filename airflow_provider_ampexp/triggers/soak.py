"""The soak of a rollout's stage, in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.exceptions import Refusals, is_retryable
from airflow_provider_ampexp.polling._shared_poller import Event, poll_until
from airflow_provider_ampexp.polling._soak_condition import SoakCondition

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig

LOOKS_WHILE_REFUSED = 30.0
"""Seconds between two looks, at most, until it is known whether a refusal lasts."""


class AmplitudeSoakTrigger(BaseTrigger):
    """Watches a flag until a moment of the service's clock, or until somebody moves it.

    It only reads: a triggerer that was restarted runs its triggers again from the beginning, and one that wrote would
    write twice. All that wait for flags of one connection look together, so that a thousand soaks cost the requests of
    one. What comes next is the worker's to do. It ends with one event: a
    :class:`~airflow_provider_ampexp.polling._soak_condition.SoakEvent`, and what the task needs to go on. It never
    raises, because Airflow would not call the task again then. A look that fails for a reason that may pass is tried
    again for as long as the soak lasts and after: an outage of Amplitude ends no rollout. A refusal (401, 403, 404, an
    unknown connection) ends the wait when every look of 5 minutes was refused.

    :param amplitude_conn_id: the connection. Airflow keeps these arguments as plain text, so there is no key here.
    :param watch: what is watched, as :meth:`SoakCondition.as_plain` writes it
    :param poll_interval: seconds between two looks, at most
    :param memory: what the task remembers. The trigger gives it back in its event as ``memory``, beside the watch as
        ``watch``: the ``kwargs`` of a deferral are the place for it, but ``dag.test()`` and ``airflow dags test`` lose
        those.
    :param ti_id: the id of the task instance that waits, which is in the event, too: SQLite gives a trigger's id to the
        next one, so that an event can reach another task
    :param of_other_versions: arguments that another version of this provider stored, and this one does not know
    """

    def __init__(
        self,
        *,
        amplitude_conn_id: str,
        watch: dict[str, Any],
        poll_interval: float,
        memory: dict[str, Any],
        ti_id: str | None = None,
        **of_other_versions: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.amplitude_conn_id = amplitude_conn_id
        self.watch = watch
        self.poll_interval = poll_interval
        self.memory = memory
        self.ti_id = ti_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again: plain JSON values."""
        return (
            f"{type(self).__module__}.{type(self).__name__}",
            {
                "amplitude_conn_id": self.amplitude_conn_id,
                "watch": self.watch,
                "poll_interval": self.poll_interval,
                "memory": self.memory,
                "ti_id": self.ti_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell why the wait is over."""
        try:
            event = await self.until_over()
        except Exception as error:
            event = {"status": "error", "archived": False, "why": f"{type(error).__name__}: {error}"}
        said = {**event, "watch": self.watch, "memory": self.memory, "ti_id": self.ti_id}
        yield TriggerEvent(said)  # type: ignore[no-untyped-call]

    async def until_over(self) -> Event:
        """Wait for the time, or for somebody to move the flag."""
        return await poll_until(self.amplitude_conn_id, _Soak(self))


class _Soak:
    """Waits with the others of its connection."""

    def __init__(self, trigger: AmplitudeSoakTrigger) -> None:
        self._watch = SoakCondition.from_plain(trigger.watch)
        self.target = FlagRef(self._watch.kind, id=self._watch.id)
        self.interval = self._interval = trigger.poll_interval
        self._log = trigger.log
        self._is_failing = False
        self._refusals = Refusals()

    def seconds_left(self, now: datetime) -> float:
        return (self._watch.until - now).total_seconds()

    def saw(self, config: FlagConfig, client: ManagementClient) -> Event | None:
        self._is_failing = False
        self._refusals.are_over()
        self.interval = self._interval
        event = self._watch.judge(config, self._watch.now(client))
        return cast("Event | None", event)

    def failed(self, error: Exception) -> Event | None:
        if not is_retryable(error):
            if self._refusals.are_final(error):
                return {"status": "error", "archived": False, "why": str(error)}
            self.interval = min(self._interval, LOOKS_WHILE_REFUSED)
        if not self._is_failing:
            self._log.warning("A look failed, which may pass: %s", error)
        self._is_failing = True
        return None
