"""A story: a plan, and all events during its rollout. Plain data; ``telling.py`` runs a story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from airflow_provider_ampexp.guardrails import CallableGuardrail
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.rollout import ChangeWindow, Stage

FaultKind = Literal[
    "status",  # an error, and the request was not carried out
    "spoilt",  # an error, and the request was carried out
    "refused",  # no connection
    "cut before",  # the connection ends, and the request was not carried out
    "cut after",  # the connection ends, and the request was carried out
    "cut body",  # half a response, and the request was carried out
    "garbage",  # a response that is not JSON, and the request was carried out
    "slow",  # a late response
    "timeout",  # no response in time, and the request was carried out
    "late",  # no response in time, and the request is carried out after the timeout
]


OFFICE_HOURS = ChangeWindow(days="Mon-Fri", start="09:00", end="17:00", timezone="UTC")
NIGHTS = ChangeWindow(days="Mon-Sun", start="22:00", end="04:00", timezone="Europe/Berlin")
_HOLD_TIMEOUT = timedelta(hours=1)  # not the default of a day, in which a guardrail would run too often

PointKind = Literal["step", "write", "end"]
Point = tuple[PointKind, int]
"""The kind and the number of a step, of a request that writes, or of a process that reports its end to Airflow."""


@dataclass(frozen=True)
class Fault:
    """The fault of one request."""

    kind: FaultKind
    status: int = 503
    retry_after: int | None = None
    seconds: float = 3.0


@dataclass(frozen=True)
class Edit:
    """An edit by another actor.

    :param segment: the segment whose fields are changed; ``None`` for fields of the flag
    :param adds: the fields are a new segment, before the others
    :param by: a person, or the name of the rollout's key for another task with the same key
    """

    fields: Mapping[str, Any]
    segment: str | None = None
    adds: bool = False
    by: str = "Maria"


@dataclass(frozen=True)
class Crash:
    """The death of a process at a step: a request, a check of the guardrails, or the report of its end.

    :param answered: whether the step was carried out
    :param noticed_after: the seconds until Airflow notices
    :param lives_on: the seconds for which the process continues, although Airflow believes that it is dead
    """

    answered: bool = False
    noticed_after: float = 10.0
    lives_on: float = 0.0


@dataclass(frozen=True)
class Story:
    """One rollout. Times are seconds from its beginning. The numbers of steps continue through all attempts.

    :param stages: percentage and soak in seconds
    :param verdicts: the verdicts of the guardrail, each from a time on; ``None`` without a guardrail
    :param faults: the faults, by the number of the request
    :param others: the percentage of the segments that are not ramped
    :param racing: a person's edit during a request that writes, by the number of that request
    :param outages: the start, the duration and the fault of each outage
    :param approvals: the start and the end of a time in which changes need an approval, and whether it is given
    :param state: whether Airflow has a state store for tasks
    :param keeps_kwargs: whether Airflow returns a deferral's own arguments, which ``airflow dags test`` does not
    :param omit: the fields that versions do not show
    :param omit_one_of: each n-th version omits these fields
    :param skews: the seconds by which the clock of each attempt's worker is ahead
    """

    stages: tuple[tuple[int, float], ...] = ((1, 3600.0), (5, 3600.0), (25, 3600.0), (100, 0.0))
    segment: str | None = None
    rollback: str | int = "start"
    on_drift: str = "stop"
    sticky: str = "refuse"
    enable: bool = True
    window: ChangeWindow | None = None
    verdicts: tuple[tuple[float, str], ...] | None = None
    check_every: float | None = None
    check_takes: float = 1.0
    effect: Literal["rollback", "hold"] = "rollback"
    failure_limit: int = 1
    inconclusive_limit: int = 3
    poll_interval: float = 300.0
    deferrable: bool = True
    retries: int = 3
    start: tuple[float, bool] = (0, False)
    is_experiment: bool = False
    starts_sticky: bool = False
    others: float = 0
    faults: Mapping[Point, Fault] = field(default_factory=dict)
    outages: tuple[tuple[float, float, Fault], ...] = ()
    edits: tuple[tuple[float, Edit], ...] = ()
    racing: Mapping[int, Edit] = field(default_factory=dict)
    crashes: Mapping[Point, Crash] = field(default_factory=dict)
    clears: tuple[float, ...] = ()
    clear_keeps_state: bool = False
    run_goes_on: bool = False
    state: Literal["kept", "none", "down"] = "kept"
    keeps_kwargs: bool = True
    approvals: tuple[tuple[float, float, Literal["all", "percentages", "segments"], bool], ...] = ()
    omit: tuple[str, ...] = ()
    omit_one_of: int = 1
    version_gaps: bool = False
    skews: tuple[float, ...] = (0.0,)
    scheduler_skew: float = 0.0

    @property
    def length(self) -> float:
        """The duration without faults, in seconds."""
        return sum(soak for _, soak in self.stages)

    @property
    def is_thin(self) -> bool:
        """True if the history omits needed fields."""
        return bool(set(self.omit) & {"rolloutPercentage", "enabled", "targetSegments", "createdAt"})

    def hides(self, version: int) -> bool:
        """Return true if a version omits the fields."""
        return bool(self.omit) and version % self.omit_one_of == 0

    def hides_where_it_stands(self, version: int) -> bool:
        """Return true if a version omits fields that a rollout needs, so that the rollout also reads the flag."""
        return self.hides(version) and bool({"rolloutPercentage", "targetSegments", "enabled", "tags"} & set(self.omit))

    def verdict_at(self, seconds: float) -> str:
        """Return the verdict of the guardrail at a time."""
        said = "pass"
        for since, verdict in self.verdicts or ():
            said = verdict if since <= seconds else said
        return said

    def operator(self, check: Any) -> AmplitudeRampRolloutOperator:
        """Return a new operator. Each process creates its own, as in Airflow."""
        guardrail = CallableGuardrail(
            check,
            name="errors",
            effect=self.effect,
            failure_limit=self.failure_limit,
            inconclusive_limit=self.inconclusive_limit,
            error_limit=self.inconclusive_limit,
        )
        return AmplitudeRampRolloutOperator(
            task_id="ramp",
            **{"experiment_key" if self.is_experiment else "flag_key": "checkout"},
            amplitude_conn_id="proof",
            stages=[Stage(percentage, timedelta(seconds=soak)) for percentage, soak in self.stages],
            segment=self.segment,
            guardrails=[guardrail] if self.verdicts is not None else [],
            check_every=None if self.check_every is None else timedelta(seconds=self.check_every),
            hold_timeout=_HOLD_TIMEOUT,
            window=self.window,
            rollback=self.rollback,
            on_drift=self.on_drift,
            sticky=self.sticky,
            enable=self.enable,
            poll_interval=self.poll_interval,
            deferrable=self.deferrable,
            retries=self.retries,
        )
