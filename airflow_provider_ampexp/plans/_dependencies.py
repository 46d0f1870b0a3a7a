"""Find rollouts that would be ahead of the rollout of a flag that they depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_ampexp.ensure._errors import TargetNotFoundError
from airflow_provider_ampexp.ensure._parents import operator_of, parents_of
from airflow_provider_ampexp.plans._clients import Clients
from airflow_provider_ampexp.plans._errors import PlanIssue
from airflow_provider_ampexp.plans._forecast import PlanForecast, shown
from airflow_provider_ampexp.plans._loader import LoadedPlan
from airflow_provider_ampexp.rollout._forecast import Forecast

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig


@dataclass(frozen=True)
class _Rollout:
    """The rollout of a flag, with its forecast.

    :param parents: the ids of the flags that it depends on
    :param needs_all: true if a user needs all of them, false if any
    """

    loaded: LoadedPlan
    course: Forecast
    parents: tuple[str, ...]
    needs_all: bool

    def percentage_at(self, moment: datetime) -> int:
        return max((stage.percentage for stage in self.course.stages if stage.at <= moment), default=0)

    def reaches(self, percentage: int) -> datetime | None:
        return next((stage.at for stage in self.course.stages if stage.percentage >= percentage), None)


def ahead_of_parents(forecasts: Sequence[PlanForecast], clients: Clients) -> Iterator[PlanIssue]:
    """Yield a mistake for each rollout that would be ahead of the flags that it depends on: 1 request for each flag.

    Only flags that another file ramps for all users count. A coordinated release orders its own flags.

    :raises CannotAskError: when Amplitude cannot be read
    """
    rollouts = {}
    for loaded, course in (rollout for found in forecasts for rollout in found.rollouts):
        config = clients.ask(loaded, partial(_read, loaded))
        if config is None:
            continue
        needs_all = operator_of(config.get("parentDependencies")) == "all"
        found = _Rollout(loaded, course, tuple(parents_of(config)), needs_all)
        rollouts[loaded.plan.connection, config["id"]] = found
    for (connection, _), child in rollouts.items():
        parents = [rollouts.get((connection, id)) for id in child.parents]
        ramped = [parent for parent in parents if parent is not None and parent.loaded.plan.segment is None]
        if not ramped or any(parent.loaded.file == child.loaded.file for parent in ramped):
            continue
        if child.needs_all or len(ramped) == len(parents):
            yield from _ahead(child, ramped)


def _read(loaded: LoadedPlan, client: ManagementClient, project_id: str | None) -> FlagConfig | None:
    """Read the flag; ``None`` if the rollout creates it, because a new flag has no dependencies."""
    try:
        return loaded.plan.target(project_id).read(client)
    except TargetNotFoundError as error:
        if loaded.plan.creates(error):
            return None
        raise


def _ahead(child: _Rollout, parents: Sequence[_Rollout]) -> Iterator[PlanIssue]:
    """Yield a mistake for the first stage at which more users are in the child than can be in its parents."""
    window = child.loaded.plan.rollout_plan().window
    for stage in child.course.stages:
        shares = [parent.percentage_at(stage.at) for parent in parents]
        if stage.percentage <= (min(shares) if child.needs_all else sum(shares)):
            continue
        share, parent = min(zip(shares, parents, strict=True), key=lambda pair: pair[0])
        later = parent.reaches(stage.percentage)
        reaches = f"reaches {stage.percentage} % {shown(later, window)}" if later else "does not reach it"
        yield child.loaded.conflict(
            f"depends on {parent.loaded.plan.target(None)} of {parent.loaded.file}: at stage {stage.percentage} %, "
            f"{shown(stage.at, window)}, that flag is at {share} % and {reaches}"
        )
        return
