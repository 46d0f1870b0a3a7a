"""Asking the guardrails of a rollout, and what is remembered of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp.guardrails.asking import ask
from airflow_provider_ampexp.guardrails.guardrail import Guardrail, Moment
from airflow_provider_ampexp.rollout import Memory, Streak

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_ampexp.operators.rolling import RollingFlag


def ask_guardrails(
    guardrails: Sequence[Guardrail], context: Context, flag: RollingFlag, memory: Memory, log: Logger
) -> Memory:
    """Ask all of them about where the flag stands; one log line each."""
    moment = Moment(
        flag_key=str(flag.config.get("key")),
        percentage=flag.seen.position.percentage,
        stage_started_at=flag.since(memory),
        now=flag.now,
        segment=flag.segment,
        weights=flag.weights,
        context=cast("Mapping[str, Any]", context),
    )
    known = {streak.name: streak for streak in memory.streaks}
    streaks = []
    for guardrail, answer in ask(guardrails, moment):
        streak = known.get(guardrail.name) or Streak(guardrail.name, guardrail.consequence)
        streak = streak.counted(answer.verdict, answer.why, answer.value, moment.now, answer.effect)
        log.info("Guardrail at %s: %s", flag.seen.position, streak)
        streaks.append(streak)
    return memory.judged(streaks, flag.now)
