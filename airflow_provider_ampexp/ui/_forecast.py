"""The earliest time of each remaining stage and of the end of a rollout. Pure: no I/O, no clock, no Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._forecast import forecast
from airflow_provider_ampexp.rollout._history import FlagSnapshot
from airflow_provider_ampexp.ui._phase import Reason
from airflow_provider_ampexp.ui._rollout_status import RolloutStatus

_CONTINUES = (Reason.SOAKING, Reason.CHECKING, Reason.WINDOW, Reason.WORKING, Reason.APPROVAL)


@dataclass(frozen=True)
class RemainingStages:
    """The stages that the rollout did not set yet, each with its earliest time, and the earliest end.

    A time is ``None`` while it depends on a person or on a guardrail that does not pass.
    """

    stages: tuple[tuple[int, datetime | None], ...] = ()
    end: datetime | None = None


def remaining_stages(
    plan: RolloutPlan, here: RolloutStatus, seen: FlagSnapshot | None, now: datetime
) -> RemainingStages:
    """Forecast a rollout from its present stage, if each guardrail passes and each approval comes at once.

    :param here: the status of the rollout
    :param seen: the flag with its history
    :param now: the service's clock
    """
    if here.reason in _CONTINUES and seen is not None and not has_tag(seen.tags, plan.hold_tag):
        try:
            found = forecast(plan, now, seen)
        except InvalidInputError:  # the window never opens again, or the rollout is about to stop
            pass
        else:
            return RemainingStages(tuple((stage.percentage, stage.at) for stage in found.stages), found.finish)
    if here.next is None:
        return RemainingStages()
    return RemainingStages(
        tuple((stage.percentage, None) for stage in plan.all_stages if stage.percentage >= here.next)
    )
