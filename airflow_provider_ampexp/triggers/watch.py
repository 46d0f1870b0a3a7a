"""The wait of a sensor, in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_ampexp.ensure.target import Target
from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
from airflow_provider_ampexp.operators.errors import may_pass
from airflow_provider_ampexp.sensors.conditions import Condition, Verdict, from_plain
from airflow_provider_ampexp.sensors.look import look

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.flags import Kind

_SHORTEST_SLEEP = 0.1
_LONGEST_BACKOFF = 60.0


class AmplitudeWatchTrigger(BaseTrigger):
    """Looks at a flag or experiment until it is as wanted, can never be, or time is over.

    It only reads and remembers nothing, so a restarted triggerer takes it up where it was. It ends with one event::

        {"status": "met", "why": ..., "seen": {...}}
        {"status": "never", "why": ..., "seen": {...}}
        {"status": "timeout", "why": <what was last seen>}
        {"status": "error", "why": ..., "may_pass": <whether a retry can mend it>}

    It never raises: Airflow would not call the sensor again then.

    :param amplitude_conn_id: the connection. Airflow keeps these arguments as plain text, so there is no key here.
    :param kind: ``flags`` or ``experiments``
    :param id: the id
    :param condition: what is waited for, as :func:`~airflow_provider_ampexp.sensors.conditions.as_plain` writes it
    :param poll_interval: seconds between two looks
    :param deadline: when to give up, in seconds since 1970
    :param failures: how many looks in a row may fail for reasons that may pass; ``None`` for any number
    """

    def __init__(
        self,
        *,
        amplitude_conn_id: str,
        kind: Kind,
        id: str,
        condition: Mapping[str, Any],
        poll_interval: float,
        deadline: float,
        failures: int | None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.amplitude_conn_id = amplitude_conn_id
        self.kind = kind
        self.id = id
        self.condition = condition
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.failures = failures
        self._client: ManagementClient | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again: plain JSON values."""
        return (
            "airflow_provider_ampexp.triggers.watch.AmplitudeWatchTrigger",
            {
                "amplitude_conn_id": self.amplitude_conn_id,
                "kind": self.kind,
                "id": self.id,
                "condition": dict(self.condition),
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "failures": self.failures,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and tell how it ended."""
        try:
            event = await self._watch()
        except Exception as error:
            event = {"status": "error", "may_pass": True, "why": f"{type(error).__name__}: {error}"}
        finally:
            if self._client is not None:
                self._client.close()
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _watch(self) -> dict[str, Any]:
        condition = from_plain(self.condition)
        failed = 0
        last = "nothing"
        while True:
            pause = self.poll_interval
            try:
                verdict = await asyncio.to_thread(self._look, condition)
            except Exception as error:
                if not may_pass(error):
                    return {"status": "error", "may_pass": False, "why": str(error)}
                failed += 1
                self.log.warning("Poll failed, which may pass (%d in a row): %s", failed, error)
                if self.failures is not None and failed >= self.failures:
                    return {
                        "status": "error",
                        "may_pass": True,
                        "why": f"{failed} polls in a row failed. Last: {error}",
                    }
                asked = getattr(error, "retry_after", None) or 0.0
                pause = max(pause, asked, min(2.0**failed, _LONGEST_BACKOFF))
            else:
                failed = 0
                if verdict.status != "waiting":
                    return {"status": verdict.status, "why": verdict.why, "seen": dict(verdict.seen)}
                if verdict.why != last:
                    self.log.info("%s %s: %s.", self.kind, self.id, verdict.why)
                last = verdict.why
            left = self.deadline - time.time()
            if left <= 0:
                return {"status": "timeout", "why": last}
            await asyncio.sleep(max(min(pause, left), _SHORTEST_SLEEP))

    def _look(self, condition: Condition) -> Verdict:
        """Look once. Runs in a thread, where the connection may be looked up and HTTP may block."""
        if self._client is None:
            # No retries inside of a call: the next look is the retry, and a thread that sleeps is one that others miss.
            self._client = AmplitudeExperimentHook(self.amplitude_conn_id).fields.connect(retry_for=0)
        return look(self._client, Target(self.kind, id=self.id), condition)
