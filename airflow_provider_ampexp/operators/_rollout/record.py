"""The record of a rollout in its XCom and its file."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar, cast

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._airflow_call import call_airflow
from airflow_provider_ampexp.rollout._record import RecordLine, digest_of, earlier_steps
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout._state import RolloutState

T = TypeVar("T")

_log = logging.getLogger(__name__)


def push_record(task: RolloutTask, state: RolloutState) -> None:
    """Put the record into its XCom, and into its file if it has one, inside of a task.

    If Airflow does not store it, the record goes to the log, and the task continues.
    """
    begin_file(task, state)
    _push(task.context, state)
    _finish_file(task, state)


def keep_before_a_wait(task: RolloutTask, state: RolloutState) -> None:
    """Store the record before a wait. Airflow has 2 seconds for that."""
    begin_file(task, state)
    call_airflow("store the record of the rollout", lambda: _push(task.context, state), None)
    _finish_file(task, state)


def begin_file(task: RolloutTask, state: RolloutState) -> None:
    """Begin to write the new lines into the file of the record, without waiting."""
    if task.record_file is not None:
        task.record_file.begin(_masked(state))


def _finish_file(task: RolloutTask, state: RolloutState) -> None:
    if task.record_file is not None:
        task.record_file.finish(_masked(state))


def _push(context: Context, state: RolloutState) -> None:
    if (ti := context.get("ti")) is None:
        return
    record = _masked(state)
    try:
        ti.xcom_push(key=RECORD_XCOM, value=record)
    except Exception as error:
        _log.warning("Storing the record in Airflow failed: %s. The record: %s", error, json.dumps(record))


def _masked(state: RolloutState) -> list[RecordLine]:
    """Return the record without secrets: the error of a guardrail may contain a password."""
    return mask_secrets(list(state.record))


def mask_secrets(value: T) -> T:
    """Return a value without the secrets that Airflow masks in its logs."""
    from airflow.sdk import log

    redact = getattr(log, "redact", None)
    return cast("T", redact(value)) if redact is not None else value


@contextmanager
def record_on_error(task: RolloutTask, state: RolloutState) -> Iterator[None]:
    """Store the record when an error is raised here, with the error as its last line."""
    try:
        yield
    except Exception as error:
        push_record(task, state.with_line(RecordKind.ERROR, task.flag.now, {"why": str(error)}))
        raise


def take_notes(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Log and record the changes of other people that were restored."""
    for note in task.flag.notes:
        task.logger.warning("%s", note)
        state = state.with_line(RecordKind.NOTE, task.flag.now, {"why": note})
    task.flag.notes.clear()
    return state


def rebuilt(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Return the state with the lines of earlier attempts, from the flag's history: Airflow drops their XComs."""
    ti, flag = task.context.get("ti"), task.flag
    if ti is None or ti.try_number < 2:
        return state
    began = attempts.run_was_due(task.context, flag.now)
    digest = digest_of(state.plan)
    lines = earlier_steps(task.plan, flag.seen.history, began, flag.now)
    return state.with_lines({**line, "plan": digest} for line in lines)


def plan_edited(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Log and record an edit of the plan during a wait."""
    edited = task.plan.changes_from(state.plan)
    if not edited:
        return state
    why = (
        f"The plan was edited during this rollout: {'; '.join(edited)}. The new plan applies from the next stage. "
        "The present stage keeps its soak and its checks."
    )
    task.logger.warning("%s", why)
    was, now = digest_of(state.plan), task.plan.as_json()
    return replace(state, plan=now).with_line(RecordKind.PLAN, task.flag.now, {"was": was, "why": why})
