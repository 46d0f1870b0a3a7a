"""The kinds of rollouts that run under chaos, each with its arguments, its events and its expected end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from airflow_provider_ampexp.rollout import Stage
from tests.chaos.secrets_backend import CONNECTION_ID
from tests.chaos.signals import Signals
from tests.chaos.witness import Witness

STAGES = (1, 5, 25, 100)
SOAK = 4.0  # seconds
LONG = 60.0  # a soak with many kills, which shows whether a soak restarts
PASSES = -60.0  # before the stage began, so the guardrail always passes
SLOW = 7.0  # seconds until some guardrails pass, longer than a soak

ALL_SOAK = (SOAK, SOAK, SOAK, SOAK)

Ending = Literal["complete", "rolled back", "stopped"]


class Asked(Protocol):
    """The attributes of a guardrail's context that these guardrails use."""

    percentage: float
    stage_started_at: datetime
    now: datetime
    context: Mapping[str, Any]
    is_preflight: bool


@dataclass(frozen=True)
class Check:
    """A guardrail without memory: at the same time, each attempt of a task gets the same result.

    :param bad: its result while it does not pass
    :param at: the only stage at which it may not pass; ``None`` for each stage
    :param until: the seconds of a stage in which it does not pass; ``None`` for the whole stage
    :param in_outage: whether it does not pass only after the controller has stopped a part of Airflow
    """

    bad: Literal["fail", "inconclusive", "error"]
    at: int | None = None
    until: float | None = None
    effect: Literal["rollback", "hold"] = "rollback"
    limit: int = 1
    in_outage: bool = False

    def __call__(self, moment: Asked) -> bool | None:
        if moment.is_preflight:
            return True
        passes = self._passes(moment)
        task_instance = moment.context["ti"]
        if self.in_outage and not passes:
            Signals.of_this_process().wait_for_outage(task_instance.run_id)
        Witness(task_instance.run_id, task_instance.try_number).tell(
            "verdict", now=moment.now.isoformat(), percentage=moment.percentage, acts=self._acts(passes)
        )
        if not passes and self.bad == "error":
            raise RuntimeError("the warehouse does not answer")
        return True if passes else False if self.bad == "fail" else None

    def _passes(self, moment: Asked) -> bool:
        if self.at not in (None, moment.percentage):
            return True
        return self.until is not None and (moment.now - moment.stage_started_at).total_seconds() >= self.until

    def _acts(self, passes: bool) -> str:
        """Return the effect of a result, by the limits of the operator."""
        if passes:
            return "go"
        if self.limit > 1:
            return "wait"
        return "roll back" if self.effect == "rollback" else "hold"


@dataclass(frozen=True)
class Kind:
    """One kind of rollout.

    :param arguments: the arguments of the operator, without stages, soak and guardrails
    :param soaks: the soak of each stage in seconds; ``None`` for no soak at the last stage
    :param check: its guardrail, if it has one
    :param person: Maria's edit at stage ``person_at``, as a body of ``PATCH``
    :param at_write: whether Maria edits at the time of this rollout's next write
    :param hold: the seconds for which Maria sets the hold tag, from ``person_at`` on
    :param ends: the expected end
    :param final: the expected exposure at the end, as percentage and enabled; ``None`` for Maria's exposure
    :param connection: the id of its connection, if it is not the default connection
    :param has_heartbeat: whether it writes a heartbeat for the watchdog
    :param rolls_back_within: seconds, at most, from the failed check to the version that lowers the flag
    """

    name: str
    ends: Ending = "complete"
    final: tuple[int, bool] | None = (100, True)
    arguments: dict[str, Any] = field(default_factory=dict)
    soaks: tuple[float | None, ...] = (SOAK, SOAK, SOAK, None)
    check: Check | None = None
    person: dict[str, Any] | None = None
    person_at: int = 5
    at_write: bool = False
    hold: float | None = None
    connection: str | None = None
    has_heartbeat: bool = False
    rolls_back_within: float | None = None

    @property
    def stages(self) -> list[Stage]:
        """The stages with their soaks."""
        return [
            Stage(percentage, None if soak is None else timedelta(seconds=soak))
            for percentage, soak in zip(STAGES, self.soaks, strict=True)
        ]

    @property
    def segment(self) -> str | None:
        return self.arguments.get("segment")


KINDS = {
    kind.name: kind
    for kind in (
        Kind("plain"),
        Kind("long", soaks=(SOAK, LONG, SOAK, None)),
        Kind("segment", arguments={"segment": "Beta"}),
        Kind("checked", soaks=ALL_SOAK, arguments={"check_every": "3s"}, check=Check("fail", until=PASSES)),
        Kind("recovers", arguments={"check_every": "2s"}, check=Check("fail", until=SLOW, limit=1000)),
        Kind("unsure", arguments={"check_every": "2s"}, check=Check("inconclusive", until=SLOW, limit=1000)),
        Kind("breaks", arguments={"check_every": "2s"}, check=Check("error", at=25, until=SLOW, limit=1000)),
        Kind("holds", arguments={"check_every": "2s"}, check=Check("fail", at=25, until=SLOW, effect="hold")),
        Kind("fails", "rolled back", (0, False), check=Check("fail", at=25)),
        Kind("fails-early", "rolled back", (0, False), {"check_every": "2s"}, check=Check("fail", at=5)),
        Kind("fails-off", "rolled back", (0, False), {"rollback": "off"}, ALL_SOAK, Check("fail", at=100)),
        Kind("fails-previous", "rolled back", (5, True), {"rollback": "previous"}, check=Check("fail", at=25)),
        Kind("fails-to-one", "rolled back", (1, True), {"rollback": 1, "segment": "Beta"}, check=Check("fail", at=25)),
        Kind("lowered", "stopped", None, person={"rolloutPercentage": 3}),
        Kind("raised", "stopped", None, person={"rolloutPercentage": 60}, person_at=25),
        Kind("disabled", "stopped", None, person={"enabled": False}, person_at=25),
        Kind("archived", "stopped", None, person={"archive": True}),
        Kind("disabled-at-write", "stopped", None, person={"enabled": False}, at_write=True),
        Kind("lowered-at-write", "stopped", None, person={"rolloutPercentage": 2}, at_write=True),
        Kind("adopted", arguments={"on_drift": "adopt"}, person={"rolloutPercentage": 40}, person_at=25),
        Kind("described", person={"description": "Maria was here"}),
        Kind("tagged", person={"tags": ["rollout-hold"]}, person_at=5, hold=10.0),
    )
}

_GONE_WHEN_IT_FAILS = Check("fail", at=1, in_outage=True)
# The kinds for the scenarios, which follow the kills (tests/chaos/scenarios.py). Another actor makes a foreign raise
# with the rollouts' own key, so only the controller can identify it.
SCENARIO_KINDS = {
    kind.name: kind
    for kind in (
        Kind("api-server-gone", "rolled back", (0, False), check=_GONE_WHEN_IT_FAILS, rolls_back_within=5.0),
        Kind("vault", connection=CONNECTION_ID),
        Kind("refused"),
        Kind("foreign-next", "stopped", (25, True), soaks=(SOAK, 3 * SOAK, SOAK, None)),
        Kind("foreign-later", "stopped", (100, True), soaks=(SOAK, 3 * SOAK, SOAK, None)),
        Kind("foreign-checked", "stopped", (25, True), soaks=ALL_SOAK, check=Check("fail", until=PASSES)),
        Kind("trickled"),
    )
}
# The kinds for the watchdog: all of Airflow is killed before the check at 25 % fails, or earlier.
WATCHED = Kind("watched", "stopped", None, check=Check("fail", at=25, in_outage=True), has_heartbeat=True)
ALL_KINDS = KINDS | SCENARIO_KINDS | {WATCHED.name: WATCHED}

SEGMENT = {
    "name": "Beta",
    "conditions": [{"type": "property", "prop": "gp:beta", "op": "is", "values": ["true"]}],
    "percentage": 0,
    "bucketingKey": "user_id",
    "rolloutWeights": {"on": 1},
}


def flag_fields(kind: Kind) -> dict[str, Any]:
    """Return the fields of the flag before the rollout: disabled, at 0 %."""
    return {
        "enabled": False,
        "rolloutPercentage": 0,
        "variants": [{"key": "on"}],
        "rolloutWeights": {"on": 1},
        "targetSegments": [SEGMENT] if kind.segment else [],
    }
