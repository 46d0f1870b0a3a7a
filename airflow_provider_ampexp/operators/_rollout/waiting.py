"""The wait of a rollout: for the end of a soak, for an answer, or for a change of the flag."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.exceptions import retry_while_unavailable
from airflow_provider_ampexp.operators._rollout.record import keep_before_a_wait, record_on_error
from airflow_provider_ampexp.polling._rollout_wait import RolloutWait

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout import RolloutPlan
    from airflow_provider_ampexp.rollout._actions import Wait
    from airflow_provider_ampexp.rollout._state import RolloutState
    from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger

# A shorter wait stays on the worker, because a deferral takes longer. Such a wait happens when the history shows that a
# soak began slightly later.
_SHORT_WAIT = 2.0
# How long after its end Airflow ends a wait whose trigger was lost. An outage of the service or the triggerer can last
# as long. Airflow retries the failed attempt, which reads the flag's history.
_LOST_AFTER = timedelta(hours=6)
# A wait whose heartbeat was not stored ends after this time, and the task writes the heartbeat again. Otherwise the
# watchdog takes the rollout for dead.
_NO_HEARTBEAT = timedelta(minutes=5)


def wait(task: RolloutTask, action: Wait, state: RolloutState) -> RolloutState:
    """Wait in the triggerer; on the worker if the wait is short or the task is not deferrable."""
    keep_before_a_wait(task, state)
    flag, tag, until = task.flag, task.plan.hold_tag, action.until
    if task.heartbeat is not None and not task.heartbeat.is_stored:
        until = min(until, flag.now + _NO_HEARTBEAT)
    watch = RolloutWait(
        kind=flag.target.kind,
        id=flag.id,
        segment=flag.segment,
        exposure=flag.seen.exposure,
        until=until,
        hold_tag=tag,
        is_held=has_tag(flag.seen.tags, tag),
        audience=state.listed or state.audience,
        local_clock_error=flag.local_clock_error,
    )
    state = replace(state, alerted=tuple(sorted(task.alerts.sent)))
    if task.operator.deferrable and watch.seconds_left(flag.client) > _SHORT_WAIT:
        _defer(task, watch, state)
    while (event := retry_while_unavailable(lambda: watch.look(flag.client))) is None:
        time.sleep(max(0.2, min(task.operator.poll_interval, watch.seconds_left(flag.client))))
    with record_on_error(task, state):
        flag.observe(archived=event["archived"])
    return state.with_listed(event.get("audience"))


def _defer(task: RolloutTask, watch: RolloutWait, state: RolloutState) -> NoReturn:
    """Free the worker until the trigger ends the wait."""
    ti, operator = task.context.get("ti"), task.operator
    plain = {"watch": watch.as_plain(), "memory": state.as_json()}  # the names that 0.1.0 stored
    trigger = _trigger_class(task.plan)(
        amplitude_conn_id=str(operator.amplitude_conn_id),
        poll_interval=operator.poll_interval,
        ti_id=None if ti is None else str(ti.id),
        **plain,
    )
    lasts = timedelta(seconds=watch.seconds_left(task.flag.client)) + _LOST_AFTER
    operator.defer(trigger=trigger, method_name="resume", kwargs=plain, timeout=lasts)


def _trigger_class(plan: RolloutPlan) -> type[AmplitudeSoakTrigger]:
    """Return the class of the trigger; with an approval, the class that also reads the answer.

    The import is here, because Airflow imports operators at each parse of a DAG file.
    """
    if plan.approval is not None:
        from airflow_provider_ampexp.triggers.approval import AmplitudeApprovalTrigger

        return AmplitudeApprovalTrigger
    from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger

    return AmplitudeSoakTrigger
