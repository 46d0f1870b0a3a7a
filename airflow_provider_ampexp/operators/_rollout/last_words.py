"""What users still get when something ends a task in the middle of its rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred

from airflow_provider_ampexp.operators._rollout.record import push_record
from airflow_provider_ampexp.rollout import RunGuardrails, SetStage, Wait

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutState
    from airflow_provider_ampexp.rollout._actions import Action


def last_words(flag: ManagedFlag, act: Action, described: str) -> str:
    """What to say if the task is ended before ``act`` is done."""
    during = "in the middle of its rollout"
    if isinstance(act, RunGuardrails):
        during = "while a check was undecided"
    elif isinstance(act, SetStage):
        during = f"while it raised the flag to {act.stage.percentage} %"
    elif isinstance(act, Wait):
        during = "while it waited"
    position = flag.seen.position
    gets = f"USERS STILL GET {described} at {position}" if position.exposure else f"{described} stands at {position}"
    return f"The task ended {during}. As far as is known {gets}. Nothing changes that until the task runs again."


@contextmanager
def ended_with_last_words(
    context: Context, flag: ManagedFlag, memory: RolloutState, words: str, log: Logger
) -> Iterator[None]:
    """Say what users still get, and keep the record, when something ends the task here.

    That is ``execution_timeout``, ``sys.exit`` or Ctrl-C; neither an error nor a deferral.
    """
    try:
        with flag.last_words(words):
            yield
    except (Exception, TaskDeferred):
        raise
    except BaseException as end:
        said, reason = flag.said_if_interrupted, f"{type(end).__name__}: {end}".removesuffix(": ")
        log.error("%s (%s)", said, reason)
        push_record(context, flag, memory.recorded("error", flag.now, {"why": f"{said} ({reason})"}))
        if isinstance(end, AirflowTaskTimeout):
            raise AirflowTaskTimeout(f"{said} ({reason})") from end
        raise
