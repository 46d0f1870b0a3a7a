"""Warnings at the start of a rollout: users who do not get the feature, and users who already have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_ampexp.operators._rollout.parents import limits_of_parents
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutState


def warn_of_reach(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Log and record why users may not get the feature, and through which ways other users already get it.

    It takes 1 request for each flag that this one depends on, and 2 for each experiment.
    """
    flag, log = task.flag, task.logger
    key = flag.config.get("key") or flag.id
    for why in (*_own_reasons(flag), *limits_of_parents(flag, task.plan)):
        log.warning("Users may not get %s: %s", key, why)
        state = state.with_line(RecordKind.WARNING, flag.now, {"why": why})
    others = flag.seen.audience.others(flag.catch_all) if flag.seen.position.enabled else []
    if others:
        why = f"users outside of this rollout already get it, through {', and '.join(others)}"
        log.warning("%s: %s. The rollout and its rollback leave that as it is.", key, why)
        state = state.with_line(RecordKind.WARNING, flag.now, {"why": why})
    return state


def _own_reasons(flag: ManagedFlag) -> Iterator[str]:
    if flag.config.get("deployments") == []:
        yield "it is enabled in no deployment, so nobody gets it."
    if flag.config.get("variants") == []:
        yield "it has no variant, so nobody gets one."
    elif flag.weights and not any(flag.weights.values()):
        yield "all its weights are 0, so nobody gets a variant."
