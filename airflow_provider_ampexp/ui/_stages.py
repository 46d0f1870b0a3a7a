"""The stages of a rollout's plan, each with the verdicts of its guardrails. Pure: no I/O, no clock, no Airflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from airflow_provider_ampexp.rollout._vocabulary import RecordKind, Verdict
from airflow_provider_ampexp.ui._forecast import RemainingStages
from airflow_provider_ampexp.ui._phase import Reason, RolloutPhase
from airflow_provider_ampexp.ui._rollout_status import RolloutStatus
from airflow_provider_ampexp.ui._rollout_tasks import Rollout

_LONGEST = 300  # characters of a guardrail's sentence


class StageState(str, Enum):
    """The state of a stage."""

    PASSED = "passed"
    PRESENT = "present"
    AHEAD = "ahead"
    FAILED = "failed"
    NOT_REACHED = "not reached"


_FAILED_HERE = {
    Reason.ROLLED_BACK: "rolled back from here",
    Reason.STILL_EXPOSED: "rolled back from here",
    Reason.UNCONFIRMED: "rollback not confirmed",
}


def stages_of(
    rollout: Rollout, here: RolloutStatus, reached: float | None, remaining: RemainingStages
) -> list[dict[str, Any]]:
    """Return each stage with its soak in seconds, its state, its earliest time and its verdicts.

    :param reached: the highest stage that was set
    :param remaining: the earliest times
    """
    starts = dict(remaining.stages)
    checks = [line for line in rollout.record if line.get("what") == RecordKind.CHECK]
    stages = []
    for place, stage in enumerate(rollout.plan.all_stages, 1):
        state = _state(rollout, here, reached, place, stage.percentage)
        at = starts.get(stage.percentage)
        note = _FAILED_HERE.get(here.reason, "stopped here") if state is StageState.FAILED else ""
        stages.append(
            {
                "percentage": stage.percentage,
                "soak": stage.soak.total_seconds(),
                "state": state.value,
                "note": note,
                "starts": at.isoformat() if at else None,
                "verdicts": _verdicts(line for line in checks if line.get("stage") == stage.percentage),
                "next_check": _text(here.next_check) if state is StageState.PRESENT else None,
            }
        )
    return stages


def _state(rollout: Rollout, here: RolloutStatus, reached: float | None, place: int, percentage: float) -> StageState:
    if here.reason.phase is RolloutPhase.DONE:
        return StageState.PASSED
    if rollout.is_over:
        if reached is None or percentage > reached:
            return StageState.NOT_REACHED
        return StageState.FAILED if percentage == reached else StageState.PASSED
    stage = here.stage or 0
    if place == stage:
        return StageState.PRESENT
    return StageState.PASSED if place < stage else StageState.AHEAD


def _verdicts(checks: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the last result of each guardrail at a stage, and the number of its passes."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for line in checks:
        by_name.setdefault(str(line.get("name") or ""), []).append(line)
    return [
        {
            "name": name,
            "verdict": lines[-1].get("verdict"),
            "why": str(lines[-1].get("why") or "")[:_LONGEST],
            "at": lines[-1].get("at"),
            "passes": sum(line.get("verdict") == Verdict.PASS for line in lines),
            "checks": len(lines),
        }
        for name, lines in by_name.items()
    ]


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
