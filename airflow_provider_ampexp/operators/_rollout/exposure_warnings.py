"""Warnings at the start of a rollout: users who do not get the feature, and users who already have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp.ensure._cohorts import named_cohorts
from airflow_provider_ampexp.operators._rollout.parents import limits_of_parents
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

LIMIT = 5.0
"""The time limit in seconds for the included cohorts: neither a start nor an alert of a rollback waits longer."""

if TYPE_CHECKING:
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout._state import RolloutState


def warn_of_reach(task: RolloutTask, state: RolloutState) -> RolloutState:
    """Log and record why users may not get the feature, and through which ways other users get it.

    It takes 1 request for each flag that this one depends on, 2 for each experiment, and 1 for each variant to read the
    included cohorts.
    """
    flag, log = task.flag, task.logger
    for why in (*_own_reasons(flag), *limits_of_parents(flag, task.plan)):
        log.warning("Not all users of a stage get %s: %s", task.described, why)
        state = state.with_line(RecordKind.WARNING, flag.now, {"why": why})
    if not state.is_retry:  # a retry may have a rollback to finish
        read_included_cohorts(task)
    cohorts = [named_cohorts(flag.cohorts)] if flag.cohorts else []
    others = [*flag.seen.audience.others(flag.catch_all), *cohorts] if flag.seen.exposure.enabled else []
    if others:
        why = f"users outside of this rollout already get it, through {', and '.join(others)}"
    elif cohorts:
        why = f"with the first stage, all users of {cohorts[0]} get it too"
    else:
        return state
    log.warning("Exposure of %s: %s. A rollback removes these users only if it disables the flag.", task.described, why)
    return state.with_line(RecordKind.WARNING, flag.now, {"why": why})


def read_included_cohorts(task: RolloutTask) -> None:
    """Read the included cohorts, within 5 seconds. A rollout does not depend on the answer."""
    try:
        limited_call.begin(task.flag.read_cohorts, "read the included cohorts").result(LIMIT)
    except Exception as error:
        task.logger.warning(
            "Reading the included cohorts of %s failed: %s. If there are any, their users get it at any percentage.",
            task.described,
            error,
        )


def _own_reasons(flag: ManagedFlag) -> Iterator[str]:
    if flag.config.get("deployments") == []:
        yield "it is enabled in no deployment, so nobody gets it."
    if flag.config.get("variants") == []:
        yield "it has no variant, so nobody gets one."
    elif flag.weights and not any(flag.weights.values()):
        yield "all its weights are 0, so nobody gets a variant."
