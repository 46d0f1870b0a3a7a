"""Asking the guardrails of a rollout, and what is remembered of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp.exceptions import AmplitudeTaskError
from airflow_provider_ampexp.guardrails._base import CheckContext, Guardrail
from airflow_provider_ampexp.guardrails._run import preflight, run_checks
from airflow_provider_ampexp.rollout import GuardrailStatus, RolloutPlan, RolloutState
from airflow_provider_ampexp.rollout._analysis import aggregate
from airflow_provider_ampexp.rollout._duration import format_duration

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_ampexp.reconcile._flag import ManagedFlag


def ask_guardrails(
    guardrails: Sequence[Guardrail],
    context: Context,
    plan: RolloutPlan,
    flag: ManagedFlag,
    memory: RolloutState,
    log: Logger,
) -> RolloutState:
    """Ask all of them about where the flag stands; one log line each."""
    moment = _moment(context, flag, memory, flag.seen.position.percentage)
    known = {streak.name: streak for streak in memory.streaks}
    streaks = []
    for guardrail, answer in run_checks(guardrails, moment):
        streak = known.get(guardrail.name) or GuardrailStatus(guardrail.name, guardrail.consequence)
        streak = streak.counted(answer.verdict, answer.why, answer.value, moment.now, answer.effect)
        log.info("Guardrail at %s: %s", flag.seen.position, streak)
        streaks.append(streak)
    judged = memory.judged(streaks, flag.now)
    if judged.held_since is not None and memory.held_since is None:
        _tell_that_a_hold_began(plan, flag, judged, log)
    return judged


def _tell_that_a_hold_began(plan: RolloutPlan, flag: ManagedFlag, memory: RolloutState, log: Logger) -> None:
    _, said = aggregate(memory.streaks)
    then = "leaves the flag there and fails" if plan.on_hold_timeout == "stop" else "rolls back"
    limit = f" After {format_duration(plan.hold_limit)} of this the rollout {then}." if plan.hold_limit else ""
    log.warning("The guardrails hold the rollout at %s: %s. Nothing is raised.%s", flag.seen.position, said, limit)


def preflight_guardrails(
    guardrails: Sequence[Guardrail],
    context: Context,
    flag: ManagedFlag,
    memory: RolloutState,
    log: Logger,
    described: str,
) -> RolloutState:
    """Ask each guardrail whether it can answer at all, before any user gets the feature.

    :raises AmplitudeTaskError: names each guardrail that cannot, except those that act in no case (``dry_run``)
    """
    cannot = []
    for guardrail, why in preflight(guardrails, _moment(context, flag, memory, flag.seen.position.exposure)):
        log.warning("Preflight: guardrail %r cannot answer: %s", guardrail.name, why)
        if not guardrail.consequence.dry_run:
            cannot.append(f"guardrail {guardrail.name!r} cannot answer: {why}")
    if cannot:
        raise AmplitudeTaskError(
            f"Preflight of {described} failed: {'; '.join(cannot)}. Nothing was raised: it stands at "
            f"{flag.seen.position}. Correct the guardrail, or set preflight=False."
        )
    log.info("Preflight: the guardrails can answer, as far as they act.")
    return replace(memory, preflight_owed=False)


def _moment(context: Context, flag: ManagedFlag, memory: RolloutState, percentage: float) -> CheckContext:
    return CheckContext(
        flag_key=str(flag.config.get("key")),
        percentage=percentage,
        stage_started_at=flag.since(memory),
        now=flag.now,
        segment=flag.segment,
        weights=flag.weights,
        context=cast("Mapping[str, Any]", context),
    )
