"""A story: a plan, and everything that happens while it is carried out. Plain data; ``telling.py`` lets it happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from airflow_provider_ampexp.guardrails import CallableGuardrail
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.rollout import ChangeWindow, Stage

FaultKind = Literal[
    "status",  # an error in place of the work
    "spoilt",  # an error although the work was done
    "refused",  # no connection
    "cut before",  # the connection ends, and nothing was done
    "cut after",  # the connection ends, and the work was done
    "cut body",  # half an answer, and the work was done
    "garbage",  # an answer that is no JSON, and the work was done
    "slow",  # an answer that comes late
    "timeout",  # an answer that does not come in time, and the work was done
    "late",  # the same, and the work is done later still
]


OFFICE_HOURS = ChangeWindow(days="Mon-Fri", start="09:00", end="17:00", timezone="UTC")
NIGHTS = ChangeWindow(days="Mon-Sun", start="22:00", end="04:00", timezone="Europe/Berlin")
_HOLD_TIMEOUT = timedelta(hours=1)  # a guardrail that holds is asked very often in the day that is the default

PointKind = Literal["step", "write", "end"]
Point = tuple[PointKind, int]
"""The so many-th step of the story, request that writes, or process that tells Airflow how it ended."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    kind: FaultKind
    status: int = 503
    retry_after: int | None = None
    seconds: float = 3.0


@dataclass(frozen=True)
class Edit:
    """What somebody changes in Amplitude. ``segment`` is which one's fields, where they are one's; with ``adds`` they
    are a new segment, which is put in front of the others.

    :param by: a person; or the name that the rollout's key has, which is another task's with the same key
    """

    fields: Mapping[str, Any]
    segment: str | None = None
    adds: bool = False
    by: str = "Maria"


@dataclass(frozen=True)
class Crash:
    """A process ends. A step is a request, a question to the guardrails, or the telling of how it ended.

    :param answered: whether the step was worked on
    :param noticed_after: how long it takes Airflow to notice, in seconds
    :param lives_on: for how long it goes on although Airflow takes it for dead
    """

    answered: bool = False
    noticed_after: float = 10.0
    lives_on: float = 0.0


@dataclass(frozen=True)
class Story:
    """One rollout. Times are seconds from its beginning; steps are counted through all attempts.

    :param stages: percentage and soak in seconds
    :param verdicts: what the guardrail says from a time on; ``None`` when there is none
    :param faults: what goes wrong with which request
    :param others: what the segments that are not ramped are at
    :param racing: what a person does while the so many-th request that writes is under way
    :param outages: from, for how long, and how the service misbehaves
    :param approvals: from when to when changes need an approval, and whether it is given then
    :param state: whether Airflow has a memory for tasks
    :param keeps_kwargs: whether a deferral's own arguments come back; not so with ``airflow dags test``
    :param omit: which fields the versions leave out: all of them, or one of so many
    :param skews: by how much the clock of each attempt's worker is ahead
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
        """How long it takes when nothing goes wrong."""
        return sum(soak for _, soak in self.stages)

    @property
    def is_thin(self) -> bool:
        """Whether the history does not tell all that one needs."""
        return bool(set(self.omit) & {"rolloutPercentage", "enabled", "targetSegments", "createdAt"})

    def hides(self, version: int) -> bool:
        """Whether the fields to omit are left out of this version."""
        return bool(self.omit) and version % self.omit_one_of == 0

    def hides_where_it_stands(self, version: int) -> bool:
        """Whether this version leaves out what a rollout looks for, so that the flag itself is read, too."""
        return self.hides(version) and bool({"rolloutPercentage", "targetSegments", "enabled", "tags"} & set(self.omit))

    def verdict_at(self, seconds: float) -> str:
        """What the guardrail says at a time."""
        said = "pass"
        for since, verdict in self.verdicts or ():
            said = verdict if since <= seconds else said
        return said

    def operator(self, check: Any) -> AmplitudeRampRolloutOperator:
        """The operator, made anew by each process as Airflow does."""
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
