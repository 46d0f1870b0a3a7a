"""The record of a rollout: what was done and measured, where an audit finds it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._bounded_call import call_bounded
from airflow_provider_ampexp.rollout._record import RecordLine, digest_of, earlier_steps

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan, RolloutState

T = TypeVar("T")

_log = logging.getLogger(__name__)


def push_record(context: Context, flag: ManagedFlag, memory: RolloutState) -> None:
    """Put it into the XCom ``rollout``, and into its file if it has one. Outside of a task there is nowhere to put it.

    Where Airflow does not take it, the record goes to the log: what was done stays done, and decides how the task ends.
    """
    begin_file(flag, memory)
    _push(context, memory)
    _finish_file(flag, memory)


def keep_before_a_wait(context: Context, flag: ManagedFlag, memory: RolloutState) -> None:
    """Keep it so that it can be read during the wait, even if nothing comes after. Airflow has 2 seconds to take it."""
    begin_file(flag, memory)
    call_bounded("keep the record of the rollout", lambda: _push(context, memory), None)
    _finish_file(flag, memory)


def begin_file(flag: ManagedFlag, memory: RolloutState) -> None:
    """Begin to write what is new into the file of the record, and do not wait for it."""
    if flag.record_file is not None:
        flag.record_file.begin(_masked(memory))


def _finish_file(flag: ManagedFlag, memory: RolloutState) -> None:
    if flag.record_file is not None:
        flag.record_file.finish(_masked(memory))


def _push(context: Context, memory: RolloutState) -> None:
    if (ti := context.get("ti")) is None:
        return
    record = _masked(memory)
    try:
        ti.xcom_push(key="rollout", value=record)
    except Exception as error:
        _log.warning("Airflow did not keep the record of the rollout: %s. The record: %s", error, json.dumps(record))


def _masked(memory: RolloutState) -> list[RecordLine]:
    """The record without the secrets that Airflow knows: a guardrail's error may name a password."""
    return mask_secrets(list(memory.record))


def mask_secrets(value: T) -> T:
    """The same without the secrets that Airflow masks in its logs."""
    from airflow.sdk import log

    redact = getattr(log, "redact", None)
    return cast("T", redact(value)) if redact is not None else value


@contextmanager
def record_on_error(context: Context, flag: ManagedFlag, memory: RolloutState) -> Iterator[None]:
    """Keep it also when what is done here fails, with the error as its last line."""
    try:
        yield
    except Exception as error:
        push_record(context, flag, memory.recorded("error", flag.now, {"why": str(error)}))
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
