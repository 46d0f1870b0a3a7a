"""The soak of a rollout's stage, in the triggerer. Airflow loads the trigger by its class path; a rollout makes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._refusals import describe_failed_poll
from airflow_provider_ampexp.exceptions import is_retryable, refusals
from airflow_provider_ampexp.polling._rollout_wait import RolloutWait
from airflow_provider_ampexp.polling._shared_poller import Event, poll_until
from airflow_provider_ampexp.polling._statuses import SoakStatus

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig

__all__ = ["AmplitudeSoakTrigger"]

LOOKS_WHILE_REFUSED = 30.0
"""The longest time in seconds between two polls until a refusal is final."""


class AmplitudeSoakTrigger(BaseTrigger):
    """Poll a flag until a time on the service's clock, or until the flag changes.

    The trigger only reads. A restarted triggerer runs its triggers from the beginning, so a trigger that writes would
    write twice. All waits for flags of one connection share one poll, so a thousand soaks take the requests of one. The
    worker does the next step.

    The trigger ends with one event: a :class:`~airflow_provider_ampexp.polling._rollout_wait.SoakEvent`, and the
    state of the task. It never raises, because Airflow would then not resume the task. After a poll that fails for a
    temporary reason, the trigger polls again during the soak and after it, so an outage of Amplitude ends no rollout. A
    refusal (401, 403, 404, an unknown connection) ends the wait after 5 minutes.

    :param amplitude_conn_id: the connection's id. Airflow stores these arguments as plain text, so they have no key.
    :param watch: the condition, as :meth:`RolloutWait.as_plain` writes it
    :param poll_interval: the longest time in seconds between two polls
    :param memory: the state of the rollout. The trigger returns it in its event as ``memory``, and the condition as
        ``watch``. The ``kwargs`` of a deferral could hold it, but ``dag.test()`` and ``airflow dags test`` lose those.
    :param ti_id: the id of the waiting task instance, which is also in the event. SQLite reuses the id of a trigger, so
        an event can reach another task.
    :param of_other_versions: unknown arguments that another version of this provider stored
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
        """Return the class and the arguments of this trigger as JSON values."""
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
        """Wait, and yield the event that ends the wait."""
        try:
            event = await self.until_over()
        except Exception as error:
            event = {"status": SoakStatus.ERROR.value, "archived": False, "why": f"{type(error).__name__}: {error}"}
        said = {**event, "watch": self.watch, "memory": self.memory, "ti_id": self.ti_id}
        yield TriggerEvent(said)  # type: ignore[no-untyped-call]

    async def until_over(self) -> Event:
        """Wait for the time, or for a change of the flag."""
        return await poll_until(self.amplitude_conn_id, _Soak(self))


class _Soak:
    """A subscriber of the shared poll."""

    def __init__(self, trigger: AmplitudeSoakTrigger) -> None:
        self._watch = RolloutWait.from_plain(trigger.watch)
        self.target = FlagRef(self._watch.kind, id=self._watch.id)
        self.interval = self._interval = trigger.poll_interval
        self._log = trigger.log
        self._is_failing = False
        self._refusals = refusals()

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
                return {"status": SoakStatus.ERROR.value, "archived": False, "why": str(error)}
            self.interval = min(self._interval, LOOKS_WHILE_REFUSED)
        if not self._is_failing:
            self._log.warning("%s", describe_failed_poll(self.target, error, not is_retryable(error)))
        self._is_failing = True
        return None
