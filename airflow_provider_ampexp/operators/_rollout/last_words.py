"""What users still get when something ends a task in the middle of its rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred

from airflow_provider_ampexp.operators._rollout.record import push_record
from airflow_provider_ampexp.rollout import RunGuardrails, SetStage, Wait
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout import RolloutState
    from airflow_provider_ampexp.rollout._actions import Action


def last_words(task: RolloutTask, act: Action) -> str:
    """What to say if the task is ended before ``act`` is done."""
    during = "in the middle of its rollout"
    if isinstance(act, RunGuardrails):
        during = "while a check was undecided"
    elif isinstance(act, SetStage):
        during = f"while it raised the flag to {act.stage.percentage} %"
    elif isinstance(act, Wait):
        during = "while it waited"
    position, described = task.flag.seen.position, task.described
    gets = f"USERS STILL GET {described} at {position}" if position.exposure else f"{described} stands at {position}"
    return f"The task ended {during}. As far as is known {gets}. Nothing changes that until the task runs again."


@contextmanager
def ended_with_last_words(task: RolloutTask, state: RolloutState, words: str) -> Iterator[None]:
    """Say what users still get, and keep the record, when something ends the task here.

    That is ``execution_timeout``, ``sys.exit`` or Ctrl-C; neither an error nor a deferral.
    """
    flag = task.flag
    try:
        with flag.last_words(words):
            yield
    except (Exception, TaskDeferred):
        raise
    except BaseException as end:
        said, reason = flag.said_if_interrupted, f"{type(end).__name__}: {end}".removesuffix(": ")
        task.logger.error("%s (%s)", said, reason)
        push_record(task, state.with_line(RecordKind.ERROR, flag.now, {"why": f"{said} ({reason})"}))
        if isinstance(end, AirflowTaskTimeout):
            raise AirflowTaskTimeout(f"{said} ({reason})") from end
        raise
