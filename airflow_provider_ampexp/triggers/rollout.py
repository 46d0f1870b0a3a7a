"""The soak of a rollout's stage, in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
from airflow_provider_ampexp.operators.errors import may_pass
from airflow_provider_ampexp.triggers.soak import SoakEvent, SoakWatch

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

_SHORTEST_SLEEP = 0.2


class AmplitudeSoakTrigger(BaseTrigger):
    """Watches a flag until a moment of the service's clock, or until somebody moves it.

    It only reads: a triggerer that was restarted runs its triggers again from the beginning, and one that wrote would
    write twice. What comes next is the worker's to do. It ends with one event, a
    :class:`~airflow_provider_ampexp.triggers.soak.SoakEvent` and what the task needs to go on, and never raises, since
    Airflow would not call the task again then. A poll that fails for a reason that may pass is tried again for as long
    as the soak lasts and after: an outage of Amplitude ends no rollout.

    :param amplitude_conn_id: the connection. Airflow keeps these arguments as plain text, so there is no key here.
    :param watch: what is watched, as :meth:`SoakWatch.as_plain` writes it
    :param poll_interval: seconds between two looks
    :param memory: what the task remembers. The trigger gives it back in its event as ``memory``, beside the watch as
        ``watch``: the ``kwargs`` of a deferral are the place for it, but ``dag.test()`` and ``airflow dags test`` lose
        those.
    :param ti_id: the id of the task instance that waits, which is in the event, too: SQLite gives a trigger's id to the
        next one, so that an event can reach another task
    """

    def __init__(
        self,
        *,
        amplitude_conn_id: str,
        watch: dict[str, Any],
        poll_interval: float,
        memory: dict[str, Any],
        ti_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.amplitude_conn_id = amplitude_conn_id
        self.watch = watch
        self.poll_interval = poll_interval
        self.memory = memory
        self.ti_id = ti_id
        self._client: ManagementClient | None = None

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
            event = await self._until_over(SoakWatch.from_plain(self.watch))
        except Exception as error:
            event = {"status": "error", "archived": False, "why": f"{type(error).__name__}: {error}"}
        finally:
            if self._client is not None:
                self._client.close()
        said = {**event, "watch": self.watch, "memory": self.memory, "ti_id": self.ti_id}
        yield TriggerEvent(said)  # type: ignore[no-untyped-call]

    async def _until_over(self, watch: SoakWatch) -> SoakEvent:
        while True:
            pause = self.poll_interval
            try:
                event = await self.poll(watch)
            except Exception as error:
                if not may_pass(error):
                    return {"status": "error", "archived": False, "why": str(error)}
                self.log.warning("Poll failed, which may pass: %s", error)
                pause = max(pause, getattr(error, "retry_after", None) or 0.0)
            else:
                if event is not None:
                    return event
                if self._client is not None:
                    pause = min(pause, watch.seconds_left(self._client))
            await asyncio.sleep(max(pause, _SHORTEST_SLEEP))

    async def poll(self, watch: SoakWatch) -> SoakEvent | None:
        """Look once."""
        return await asyncio.to_thread(self._look, watch)

    def _look(self, watch: SoakWatch) -> SoakEvent | None:
        # In a thread: the connection may be looked up here, and HTTP may block.
        if self._client is None:
            self._client = AmplitudeExperimentHook(self.amplitude_conn_id).fields.connect(retry_for=0)
        return watch.look(self._client)
