"""The last log line of an interrupted task: what users still get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred

from airflow_provider_ampexp.operators._rollout.record import push_record
from airflow_provider_ampexp.rollout._actions import RunGuardrails, SetStage, Wait
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout._actions import Action
    from airflow_provider_ampexp.rollout._state import RolloutState


def interruption_message(task: RolloutTask, act: Action) -> str:
    """Return the log line for an interruption before ``act`` is complete."""
    during = "in the middle of its rollout"
    if isinstance(act, RunGuardrails):
        during = "while a check was undecided"
    elif isinstance(act, SetStage):
        during = f"while it raised the flag to {act.stage.percentage} %"
    elif isinstance(act, Wait):
        during = "while it waited"
    exposure, described = task.flag.seen.exposure, task.described
    if not exposure.effective_percentage:
        return f"The task ended {during}. {described} is probably at {exposure}, until the task runs again."
    return (
        f"The task ended {during}. USERS PROBABLY STILL GET {described} at {exposure}. No guardrail runs until the "
        "task runs again: check the flag in Amplitude, or let the task retry."
    )


@contextmanager
def log_interruption(task: RolloutTask, state: RolloutState, message: str) -> Iterator[None]:
    """Log what users still get, and store the record, when the task is interrupted here.

    An interruption is ``execution_timeout``, ``sys.exit`` or Ctrl-C, but no error and no deferral.
    """
    flag = task.flag
    try:
        with flag.set_interruption_message(message):
            yield
    except (Exception, TaskDeferred):
        raise
    except BaseException as end:
        message, reason = flag.interruption_message, f"{type(end).__name__}: {end}".removesuffix(": ")
        task.logger.error("%s (%s)", message, reason)
        push_record(task, state.with_line(RecordKind.ERROR, flag.now, {"why": f"{message} ({reason})"}))
        if isinstance(end, AirflowTaskTimeout):
            raise AirflowTaskTimeout(f"{message} ({reason})") from end
        raise
