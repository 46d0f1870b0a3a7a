"""The forecast of a plan file, as text: the earliest time of each stage and of the end. Offline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from airflow_provider_ampexp.guardrails import HoldbackGuardrail
from airflow_provider_ampexp.plans._loader import LoadedPlan
from airflow_provider_ampexp.plans._traffic import Traffic
from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan
from airflow_provider_ampexp.rollout._forecast import Forecast, forecast

_ANY: dict[str, Any] = {"no_data": "hold", "worse": "lower"}


@dataclass(frozen=True)
class PlanForecast:
    """The forecast of one file.

    :param lines: one line for each stage, and one for the end; for a release also one for each flag
    :param rollouts: the rollouts of the file, each with its forecast
    """

    lines: tuple[str, ...]
    rollouts: tuple[tuple[LoadedPlan, Forecast], ...]

    @property
    def finish(self) -> datetime:
        """The earliest time at which the last rollout is complete."""
        return self.rollouts[-1][1].finish


def forecast_file(loaded: LoadedPlan, start: datetime, traffic: Traffic | None = None) -> PlanForecast:
    """Forecast the rollout of a file from 0 %; those of a coordinated release one after the other.

    :param traffic: to show the smallest harm that each holdback guardrail can find at each stage
    :raises InvalidInputError: when the window never opens again
    """
    lines: list[str] = []
    rollouts: list[tuple[LoadedPlan, Forecast]] = []
    for rollout in loaded.rollouts:
        plan = rollout.plan.rollout_plan()
        found = forecast(plan, start)
        if loaded.flags:
            lines.append(f"{rollout.plan.target(None)} ({rollout.plan.connection})")
        lines += _lines(plan, found, traffic)
        rollouts.append((rollout, found))
        start = found.finish
    return PlanForecast(tuple(lines), tuple(rollouts))


def _lines(plan: RolloutPlan, found: Forecast, traffic: Traffic | None) -> Iterator[str]:
    needs_approval = set(plan.approve_before)
    for stage in found.stages:
        approval = ", after an approval" if stage.percentage in needs_approval else ""
        yield f"{stage.percentage:4} %  {shown(stage.at, plan.window)}{approval}"
        if traffic is not None:
            yield from _found_at(stage.percentage, plan.guardrails, traffic)
    yield f"finish  {shown(found.finish, plan.window)}"


def _found_at(percentage: int, guardrails: Iterable[object], traffic: Traffic) -> Iterator[str]:
    """Yield what each holdback guardrail can find at a stage; without one, what it could find."""
    given = [check for check in guardrails if isinstance(check, HoldbackGuardrail)]
    for guardrail in given or [HoldbackGuardrail("none", "select 1", name="a holdback guardrail", **_ANY)]:
        harm = guardrail.smallest_harm(percentage, traffic.users, traffic.variation)
        finds = "has no control left" if harm is None else f"finds {100 * harm:.1f} % worse"
        yield f"        {guardrail.name} {finds}"


def shown(moment: datetime, window: ChangeWindow | None) -> str:
    """Return a time in the time zone of the window, otherwise in UTC."""
    return window.shown(moment) if window else f"{moment.astimezone(timezone.utc):%a %Y-%m-%d %H:%M UTC}"
