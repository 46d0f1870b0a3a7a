"""The forecast of a plan file, as text: the earliest time of each stage and of the end. Offline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from airflow_provider_ampexp.plans._loader import LoadedPlan
from airflow_provider_ampexp.rollout import ChangeWindow, forecast


@dataclass(frozen=True)
class PlanForecast:
    """The forecast of one file.

    :param lines: one line for each stage, and one for the end
    :param finish: the earliest time at which the rollout is complete
    """

    lines: tuple[str, ...]
    finish: datetime


def forecast_file(loaded: LoadedPlan, start: datetime) -> PlanForecast:
    """Forecast the rollout of a file from 0 %.

    :raises InvalidInputError: when the window never opens again
    """
    plan = loaded.plan.rollout_plan()
    found = forecast(plan, start)
    needs_approval = set(plan.approve_before)

    def lines() -> Iterator[str]:
        for stage in found.stages:
            approval = ", after an approval" if stage.percentage in needs_approval else ""
            yield f"{stage.percentage:4} %  {shown(stage.at, plan.window)}{approval}"
        yield f"finish  {shown(found.finish, plan.window)}"

    return PlanForecast(tuple(lines()), found.finish)


def shown(moment: datetime, window: ChangeWindow | None) -> str:
    """Return a time in the time zone of the window, otherwise in UTC."""
    return window.shown(moment) if window else f"{moment.astimezone(timezone.utc):%a %Y-%m-%d %H:%M UTC}"
