"""The kinds of rollouts that run under chaos: what each is told, what happens to it, and how it must end."""

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
LONG = 60.0  # a soak in which many a kill falls: it shows whether one begins anew
PASSES = -60.0  # before the stage began: always
SLOW = 7.0  # how long some guardrails need before they pass, which is longer than a soak

ALL_SOAK = (SOAK, SOAK, SOAK, SOAK)

Ending = Literal["complete", "rolled back", "stopped"]


class Asked(Protocol):
    """What a guardrail is told, as far as these look at it."""

    percentage: float
    stage_started_at: datetime
    now: datetime
    context: Mapping[str, Any]
    is_preflight: bool


@dataclass(frozen=True)
class Check:
    """A guardrail without memory: every attempt of a task gets the same answer at the same moment.

    :param bad: what it says while it does not pass
    :param at: the only stage at which it ever does not pass; ``None`` for each
    :param until: how long into a stage it does not pass; ``None`` for always
    :param in_outage: whether it waits, before it says that it does not pass, until the controller has taken away a part
        of Airflow
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
        """What is to follow, by the limits that are given to the operator."""
        if passes:
            return "go"
        if self.limit > 1:
            return "wait"
        return "roll back" if self.effect == "rollback" else "hold"


@dataclass(frozen=True)
class Kind:
    """One kind of rollout.

    :param arguments: of the operator, besides stages, soak and guardrails
    :param soaks: in seconds, a stage each; ``None`` for the last is none
    :param check: its guardrail, if it has one
    :param person: what Maria does to the flag at stage ``person_at``, as ``PATCH`` takes it
    :param at_write: she does it at the moment of this rollout's next write
    :param hold: she puts the hold tag on at ``person_at``, and takes it away after so many seconds
    :param ends: how it must end
    :param final: where the flag must stand then, as percentage and enabled; ``None`` where the person left it
    :param connection: the id of its connection, where that is not the default one
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
        """The stages, each with its soak."""
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
# Those of the scenarios, which come after the kills (tests/chaos/scenarios.py). A foreign raise is made with the
# rollouts' own key by somebody else, so only the controller knows of it.
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
# For the watchdog: all of Airflow is killed while the check at 25 % is about to fail, or before.
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
    """What the flag is before the rollout: switched off, for nobody."""
    return {
        "enabled": False,
        "rolloutPercentage": 0,
        "variants": [{"key": "on"}],
        "rolloutWeights": {"on": 1},
        "targetSegments": [SEGMENT] if kind.segment else [],
    }
