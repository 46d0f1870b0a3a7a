"""The target of a rollback: the exposure to which the plan lowers a flag. Pure."""

from __future__ import annotations

from typing import NamedTuple

from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._stages import ResolvedStage


class RollbackTarget(NamedTuple):
    """The target of a rollback of one plan, from one observation of the flag.

    :param present: the present exposure
    :param last: the exposure of the last observation or write; ``None`` at the first observation
    :param origin: the exposure before this rollout; ``None`` if the history does not show it
    """

    plan: RolloutPlan
    present: Exposure
    last: Exposure | None
    origin: Exposure | None

    @property
    def exposure(self) -> Exposure | None:
        """The target, always below the present exposure; ``None`` leaves the flag as it is."""
        wanted = self._by_the_plan
        return (
            wanted if wanted is not None and wanted.effective_percentage < self.present.effective_percentage else None
        )

    @property
    def is_unknown(self) -> bool:
        """Whether a rollback needs the exposure before this rollout, and the history does not show it."""
        return self._is_the_origin and self.present.effective_percentage > 0 and self.origin is None

    @property
    def why_not_lowered(self) -> str:
        """Why a rollback leaves the flag as it is."""
        rollback = self.plan.rollback
        if rollback == "hold":
            return "rollback='hold' leaves the flag where it is"
        if self._is_the_origin:
            if self.origin is None:
                return "the version history does not show the exposure before this rollout, so nothing was lowered"
            return (
                f"before this rollout the flag was at {self.origin}, which is not below {self.present}, "
                "so nothing was lowered"
            )
        return f"rollback={rollback!r} is not below {self.present}, so nothing was lowered"

    @property
    def _by_the_plan(self) -> Exposure | None:
        rollback = self.plan.rollback
        if rollback == "hold":
            return None
        if rollback == "off":
            return Exposure(0, enabled=False)
        if self._is_the_origin:
            return self.origin
        if rollback == "previous":
            below = self._stage_below
            return Exposure(below.percentage, enabled=True) if below else None
        assert isinstance(rollback, int)
        return Exposure(rollback, enabled=True)

    @property
    def _is_the_origin(self) -> bool:
        return self.plan.rollback == "start" or (self.plan.rollback == "previous" and self._stage_below is None)

    @property
    def _stage_below(self) -> ResolvedStage | None:
        """The stage before the present one; before the last one, if another actor raised since the last observation."""
        last = self.last or self.present
        return self.plan.highest_below(min(last.percentage, self.present.percentage))
