"""The record of a rollout: what was done and measured, where an audit finds it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_ampexp.operators._rollout import attempts
from airflow_provider_ampexp.rollout._record import digest_of, earlier_steps

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan, RolloutState

_log = logging.getLogger(__name__)


def push_record(context: Context, memory: RolloutState) -> None:
    """Put it into the XCom ``rollout``. Outside of a task there is nowhere to put it.

    Where Airflow does not take it, the record goes to the log: what was done stays done, and decides how the task ends.
    """
    if (ti := context.get("ti")) is None:
        return
    record = list(memory.record)
    try:
        ti.xcom_push(key="rollout", value=record)
    except Exception as error:
        _log.warning("Airflow did not keep the record of the rollout: %s. The record: %s", error, json.dumps(record))


@contextmanager
def record_on_error(context: Context, flag: ManagedFlag, memory: RolloutState) -> Iterator[None]:
    """Keep it also when what is done here fails, with the error as its last line."""
    try:
        yield
    except Exception as error:
        push_record(context, memory.recorded("error", flag.now, {"why": str(error)}))
        raise


def log_warnings(flag: ManagedFlag, memory: RolloutState, log: Logger) -> RolloutState:
    """Log and remember whose changes were put back on the way."""
    for note in flag.notes:
        log.warning("%s", note)
        memory = memory.recorded("note", flag.now, {"why": note})
    flag.notes.clear()
    return memory


def rebuilt(context: Context, plan: RolloutPlan, flag: ManagedFlag, memory: RolloutState) -> RolloutState:
    """Remember what earlier attempts of this task did, as the flag's history tells: Airflow drops their XComs."""
    ti = context.get("ti")
    if ti is None or ti.try_number < 2:
        return memory
    began = attempts.run_was_due(context, flag.now)
    digest = digest_of(memory.plan)
    lines = earlier_steps(plan, flag.seen.history, began, flag.now)
    return memory.with_lines({**line, "plan": digest} for line in lines)


def plan_edited(plan: RolloutPlan, flag: ManagedFlag, memory: RolloutState, log: Logger) -> RolloutState:
    """Log and remember that somebody edited the plan during a wait."""
    edited = plan.changes_from(memory.plan)
    if not edited:
        return memory
    why = (
        f"The plan was edited during this rollout: {'; '.join(edited)}. The new plan counts from the next stage on; "
        "the present one keeps its soak and its checks."
    )
    log.warning("%s", why)
    was, now = digest_of(memory.plan), plan.as_json()
    return replace(memory, plan=now).recorded("plan", flag.now, {"was": was, "why": why})
