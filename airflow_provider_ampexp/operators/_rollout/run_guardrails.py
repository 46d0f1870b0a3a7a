"""Run the guardrails of a rollout, and add their results to the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.guardrails._base import CheckContext
from airflow_provider_ampexp.guardrails._run import add_results, preflight, run_checks
from airflow_provider_ampexp.rollout._analysis import aggregate
from airflow_provider_ampexp.rollout._duration import format_duration
from airflow_provider_ampexp.rollout._state import RolloutState

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask


def run_all(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Run all guardrails at the present exposure, and log a line for each."""
    flag, log = task.flag, task.logger
    moment = _moment(task, state, flag.seen.exposure.percentage)
    statuses = add_results(state.statuses, run_checks(task.guardrails, moment), moment.now)
    for status in statuses:
        log.info("Guardrail at %s: %s", flag.seen.exposure, status)
    judged = state.after_checks(statuses, flag.now)
    if judged.held_since is not None and state.held_since is None:
        _log_that_a_hold_began(task, judged)
    return judged


def _log_that_a_hold_began(task: RolloutTask, state: RolloutState) -> None:
    plan = task.plan
    _, why = aggregate(state.statuses)
    exposure = task.flag.seen.exposure
    then = f"fails and leaves the flag at {exposure}" if plan.on_hold_timeout == "stop" else "rolls back"
    limit = f" After {format_duration(plan.hold_limit)} of this hold the task {then}." if plan.hold_limit else ""
    task.logger.warning("The guardrails hold the rollout at %s: %s. Nothing is raised.%s", exposure, why, limit)


def preflight_guardrails(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Run each guardrail once to see whether it works, before any user gets the feature.

    :raises AmplitudeTaskError: names each guardrail that does not work, except with ``dry_run``
    """
    flag, log, cannot = task.flag, task.logger, []
    for guardrail, why in preflight(task.guardrails, _moment(task, state, flag.seen.exposure.effective_percentage)):
        log.warning("Preflight: guardrail %r cannot answer: %s", guardrail.name, why)
        if not guardrail.consequence.dry_run:
            cannot.append(f"guardrail {guardrail.name!r} cannot answer: {why}")
    if cannot:
        raise AmplitudeTaskError(
            f"Preflight of {task.described} failed: {'; '.join(cannot)}. Nothing was raised: the flag is at "
            f"{flag.seen.exposure}. Correct the guardrail, or set preflight=False."
        )
    log.info("Preflight: each guardrail that has an effect works.")
    return replace(state, preflight_owed=False)


def _moment(task: RolloutTask, state: RolloutState, percentage: float) -> CheckContext:
    flag = task.flag
    since = flag.since(state)
    return CheckContext(
        flag_key=str(flag.config.get("key")),
        percentage=percentage,
        stage_started_at=since,
        now=flag.now,
        soak_ends_at=None if state.owed_soak is None else since + timedelta(seconds=state.owed_soak),
        segment=flag.segment,
        weights=flag.weights,
        config=flag.config,
        history=flag.seen.history,
        context=cast("Mapping[str, Any]", task.context),
    )
