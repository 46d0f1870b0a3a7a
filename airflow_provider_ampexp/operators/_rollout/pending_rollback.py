"""The note in Airflow that an attempt is about to roll back, for the attempt after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp._keys import ROLLBACK_STATE
from airflow_provider_ampexp.operators import _airflow_call as airflow_call
from airflow_provider_ampexp.operators._attempts import first_try

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import JsonValue

    from airflow_provider_ampexp._limited_call import LimitedCall

_KEEP = "store the reason for the rollback"


class PendingRollback:
    """Note in Airflow that this attempt is about to roll back. The attempt may die before the rollback is complete.

    The rollback does not wait for the note. Airflow 3.3 stores it. If the note is lost, the next attempt runs the
    guardrails again before it continues.
    """

    def __init__(self) -> None:
        self._why: str | None = None
        self._call: LimitedCall[None] | None = None

    def begin(self, context: Context, why: str) -> None:
        """Begin to store the note. The same reason is stored once."""
        store, ti = context.get("task_state_store"), context.get("ti")
        if store is None or ti is None or why == self._why:
            return
        note: dict[str, JsonValue] = {"since_try": first_try(ti, ti.task.retries), "why": why}
        self._why, self._call = why, limited_call.begin(lambda: store.set(ROLLBACK_STATE, note), _KEEP)

    def finish(self) -> None:
        """Wait for the note, at most 2 seconds from its begin."""
        if self._call is not None:
            airflow_call.finish(_KEEP, self._call, None)
            self._call = None


def pending_rollback_reason(context: Context) -> str | None:
    """Return why an earlier attempt was about to roll back; ``None`` also if Airflow does not respond in 2 seconds.

    Some ways of clearing a task keep the note. A note from before the last clear does not count.
    """
    store, ti = context.get("task_state_store"), context.get("ti")
    if store is None or ti is None:
        return None
    kept = airflow_call.call_airflow("read whether a rollback is incomplete", lambda: store.get(ROLLBACK_STATE), None)
    if not isinstance(kept, dict) or kept.get("since_try") != first_try(ti, ti.task.retries):
        return None
    return str(kept.get("why"))
