"""The plan of a rollout: its stages, and the rules that hold on the way.

This is the reference of a rollout's parameters. The operators, ``staged_rollout`` and plan files repeat the names and
the defaults; ``tests/airflow/test_airflow_one_plan.py`` compares them. ``_PARSERS`` checks the values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, asdict, dataclass, fields
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal, TypeAlias, cast, get_args

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._alert import Notifiers
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy, OnReject
from airflow_provider_ampexp.rollout._change_window import ChangeWindow
from airflow_provider_ampexp.rollout._duration import DurationLike, interval, parse_positive_duration
from airflow_provider_ampexp.rollout._preview import RolloutPreview, check_preview
from airflow_provider_ampexp.rollout._stages import ResolvedStage, Stage, check_soaks, parse_stages

StagesLike: TypeAlias = Sequence[int | Stage | ResolvedStage | Mapping[str, Any]] | str
RollbackTo: TypeAlias = Literal["start", "previous", "off", "hold"] | int
OnDrift: TypeAlias = Literal["stop", "adopt"]
OnHoldTimeout: TypeAlias = Literal["stop", "rollback"]
Sticky: TypeAlias = Literal["refuse", "switch_off"]
Decided: TypeAlias = Literal["refuse", "ignore"]
IfChangedSince: TypeAlias = Literal["fail", "skip", "write"]

HOLD_TIMEOUT = timedelta(hours=24)
"""How long guardrails may hold a rollout at a stage, if the plan does not say."""
POLL_INTERVAL = 60.0
"""Seconds between two polls during a soak, if the plan does not say."""

_RECHECK = timedelta(minutes=5)
_ROLLBACK = ("start", "previous", "off", "hold")


@dataclass(frozen=True)
class RolloutPlan:
    """The plan of a rollout. Operators and ``staged_rollout`` take it as ``plan=``.

    :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator` documents the fields down to
    ``deferrable`` in full.

    :param stages: percentages such as ``[1, 5, 25, 100]``, strictly rising, or :class:`Stage` objects with their own
        soaks
    :param soak: the time at each stage except the last: a ``timedelta`` or a text such as ``"2h"``. ``0`` is no soak.
    :param segment: the target segment to ramp; if not given, all users outside of the target segments
    :param guardrails: checks that run when a soak ends, and every ``check_every`` during it
    :param check_every: the time between two checks during a soak; if not given, one check at its end
    :param preflight: before the first raise, run each guardrail once to see whether it works
    :param window: when the percentage may be raised; if not given, at any time. A rollback does not wait.
    :param preview: a :class:`RolloutPreview`: who enters, before each raise and in each approval
    :param rollback: the target of a rollback: ``"start"``, ``"previous"``, a percentage, ``"off"`` or ``"hold"``
    :param on_drift: when another person changes the flag: ``"stop"`` or ``"adopt"``. A disabled or archived flag always
        stops the rollout.
    :param hold_tag: while the flag has this tag, nothing is raised
    :param hold_timeout: how long guardrails may hold a stage; ``None`` for no limit (default: 24 hours)
    :param on_hold_timeout: ``"stop"`` leaves the flag and fails; ``"rollback"`` rolls back
    :param sticky: for sticky bucketing: ``"refuse"`` or ``"switch_off"``
    :param decided: for an experiment whose decision is ``rollback``: ``"refuse"`` or ``"ignore"``
    :param catch_all: the target segment that has no conditions on purpose
    :param enable: enable a disabled flag together with the first stage
    :param if_changed_since: when another person changed the flag after the run was due: ``"fail"``, ``"skip"`` or
        ``"write"``
    :param record_path: a folder for the record as JSON lines, such as ``"s3://audit/rollouts"``
    :param heartbeat_path: a folder for the heartbeat, which the watchdog reads, such as ``"s3://audit/heartbeats"``
    :param on_rollback: notifiers, called once after a rollback, or when a rollback is not confirmed
    :param on_abort: notifiers, called once when the rollout stops and leaves the flag as it is, or an error ends it
    :param on_hold: notifiers, called once when guardrails or ``hold_tag`` start to hold the rollout
    :param on_approval_needed: notifiers, called once when a task asks for an approval
    :param poll_interval: the time between two polls during a soak: seconds, or a text such as ``"1m"``
    :param deferrable: soak in the triggerer; ``False`` keeps a worker for the whole rollout
    :param approve_before: the stages that need an approval, as percentages (``staged_rollout`` only)
    :param approvers: ids of the Airflow users who may approve; if not given, all users who may edit the DAG run
    :param approval_timeout: how long to wait for an answer; if not given, without limit
    :param on_reject: ``"rollback"``, or ``"hold"``: leave the flag and skip the stages that follow
    :param on_no_answer: the same, after ``approval_timeout``
    :param checked: set by the provider: the rollout has guardrails
    :param only: set by the provider: the one stage of this task, if each stage is a task
    :param approval: set by the provider: the approval of this task, which raises nothing
    :raises InvalidInputError: names the field
    """

    stages: StagesLike
    soak: InitVar[DurationLike | None] = None
    segment: str | None = None
    guardrails: Iterable[Any] = ()
    check_every: DurationLike | None = None
    preflight: bool = True
    window: ChangeWindow | None = None
    preview: RolloutPreview | None = None
    rollback: RollbackTo | str = "start"
    on_drift: OnDrift | str = "stop"
    hold_tag: str = "rollout-hold"
    hold_timeout: DurationLike | None = HOLD_TIMEOUT
    on_hold_timeout: OnHoldTimeout | str = "stop"
    sticky: Sticky | str = "refuse"
    decided: Decided | str = "refuse"
    catch_all: str | None = None
    enable: bool = True
    if_changed_since: IfChangedSince | str = "fail"
    record_path: str | None = None
    heartbeat_path: str | None = None
    on_rollback: Notifiers | None = None
    on_abort: Notifiers | None = None
    on_hold: Notifiers | None = None
    on_approval_needed: Notifiers | None = None
    poll_interval: DurationLike = POLL_INTERVAL
    deferrable: bool = True
    approve_before: Collection[int] = ()
    approvers: Sequence[str] | str = ()
    approval_timeout: DurationLike | None = None
    on_reject: OnReject | str = "rollback"
    on_no_answer: OnReject | str = "hold"
    checked: bool = False
    only: int | None = None
    approval: ApprovalPolicy | None = None

    def __post_init__(self, soak: DurationLike | None) -> None:
        given = tuple(self.stages) if isinstance(self.stages, Iterator) else self.stages
        check_soaks(given, soak)
        stages = parse_stages(given, soak)
        _check_stages(stages)
        object.__setattr__(self, "stages", stages)
        for name, parse in _PARSERS.items():
            object.__setattr__(self, name, parse(name, getattr(self, name)))
        if self.guardrails:
            object.__setattr__(self, "checked", True)
        percentages = [stage.percentage for stage in stages]
        if isinstance(self.rollback, int) and self.rollback >= percentages[-1]:
            raise InvalidInputError(
                "rollback", f"expected a percentage below the last stage, {percentages[-1]}, got {self.rollback}"
            )
        if self.only is not None and self.only not in percentages:
            raise InvalidInputError("only", f"{self.only} is none of the stages {percentages}")
        if self.approval is not None and self.approval.before not in percentages:
            raise InvalidInputError("approve_before", f"{self.approval.before} is none of the stages {percentages}")
        _check_approvals(self, percentages)
        if self.heartbeat_path is not None:
            _check_heartbeat(self)

    def _merged_with(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of an operator or a group, with the parameters of this plan.

        :raises InvalidInputError: names an argument that says again what the plan says
        """
        for name, default in PARAMETERS.items():
            if arguments.get(name, default) != default:
                raise InvalidInputError(name, "is a part of plan; give it there, or give no plan")
        given = {name: getattr(self, name) for name in PARAMETERS if name != "soak"}
        return {**arguments, **{name: value for name, value in given.items() if value != PARAMETERS[name]}}

    @property
    def all_stages(self) -> tuple[ResolvedStage, ...]:
        """All stages with their soaks."""
        return cast("tuple[ResolvedStage, ...]", self.stages)

    @property
    def own_stages(self) -> tuple[ResolvedStage, ...]:
        """The stages that are carried out here."""
        if self.approval is not None:
            return ()
        return tuple(stage for stage in self.all_stages if self.only in (None, stage.percentage))

    @property
    def check_interval(self) -> timedelta | None:
        """The time between two checks during a soak."""
        return cast("timedelta | None", self.check_every)

    @property
    def hold_limit(self) -> timedelta | None:
        """How long guardrails may hold the rollout."""
        return cast("timedelta | None", self.hold_timeout)

    @property
    def recheck(self) -> timedelta:
        """How long a result of the guardrails is valid after the soak."""
        return self.check_interval or _RECHECK

    def stage_at(self, percentage: float) -> ResolvedStage | None:
        """The stage of exactly this percentage."""
        return next((stage for stage in self.all_stages if stage.percentage == percentage), None)

    def next_above(self, percentage: float) -> ResolvedStage | None:
        """The lowest stage above this percentage."""
        return next((stage for stage in self.all_stages if stage.percentage > percentage), None)

    def highest_below(self, percentage: float) -> ResolvedStage | None:
        """The highest stage below this percentage."""
        return next((stage for stage in reversed(self.all_stages) if stage.percentage < percentage), None)

    def as_json(self) -> dict[str, Any]:
        """Return plain values of what the rules of the rollout depend on. Durations are in seconds."""
        shown = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _NOT_IN_JSON}
        return {
            **shown,
            "stages": [[stage.percentage, stage.soak.total_seconds()] for stage in self.all_stages],
            "check_every": _seconds(self.check_interval),
            "hold_timeout": _seconds(self.hold_limit),
            "window": None if self.window is None else _window_as_json(self.window),
            "approval": None
            if self.approval is None
            else {**asdict(self.approval), "timeout": _seconds(self.approval.timeout)},
        }

    def changes_from(self, earlier: Mapping[str, Any]) -> list[str]:
        """Name what differs from an earlier plan that :meth:`as_json` wrote, in the fields that both have."""
        now, before = (json.loads(json.dumps(plan, default=str)) for plan in (self.as_json(), dict(earlier)))
        return [
            f"{name} was {before[name]} and is {now[name]}"
            for name in now
            if name in before and now[name] != before[name]
        ]

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> RolloutPlan:
        """Read what :meth:`as_json` wrote, in this version or another one. Unknown fields are ignored.

        :raises InvalidInputError: when it is no plan
        """
        known = {field.name: plain[field.name] for field in fields(cls) if field.name in plain}
        known["stages"] = tuple(
            ResolvedStage(percentage, timedelta(seconds=soak)) for percentage, soak in plain["stages"]
        )
        for name in ("check_every", "hold_timeout"):
            if name in plain:
                known[name] = _from_seconds(plain[name])
        if (window := plain.get("window")) is not None:
            known["window"] = ChangeWindow(**window)
        if (approval := plain.get("approval")) is not None:
            known["approval"] = ApprovalPolicy(**{**approval, "timeout": _from_seconds(approval["timeout"])})
        return cls(**known)


def _check_heartbeat(plan: RolloutPlan) -> None:
    """Refuse a heartbeat that the watchdog could never act on."""
    if not plan.checked:
        raise InvalidInputError("heartbeat_path", "needs guardrails, because only they confirm a stage")
    if plan.rollback == "hold":
        raise InvalidInputError("heartbeat_path", "needs a rollback other than 'hold', which lowers nothing")


def with_plan(plan: RolloutPlan | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of an operator or a group, with the parameters of a plan if there is one.

    :raises InvalidInputError: names an argument that says again what the plan says, or that nothing gives the stages
    """
    if plan is not None and not isinstance(plan, RolloutPlan):
        raise InvalidInputError("plan", f"expected a RolloutPlan, got {plan!r}; load_plan reads a plan file")
    given = dict(arguments) if plan is None else plan._merged_with(arguments)
    if given["stages"] is None:
        raise InvalidInputError("stages", "is required, if no plan is given")
    return given


_SET_BY_THE_PROVIDER = ("checked", "only", "approval")
ALERTS = ("on_rollback", "on_abort", "on_hold", "on_approval_needed")
"""The parameters of alerts."""
FOLDERS = ("record_path", "heartbeat_path")
"""The parameters that name a folder of an object store."""
APPROVALS = ("approve_before", "approvers", "approval_timeout", "on_reject", "on_no_answer")
"""The parameters of approvals, which only a group of tasks has."""
_NOT_IN_JSON = (
    *ALERTS,
    "guardrails",
    "preview",
    "if_changed_since",
    *FOLDERS,
    "poll_interval",
    "deferrable",
    *APPROVALS,
)

PARAMETERS: Mapping[str, Any] = {
    "stages": None,
    "soak": None,
    **{
        field.name: field.default
        for field in fields(RolloutPlan)
        if field.name not in ("stages", *_SET_BY_THE_PROVIDER)
    },
}
"""The parameters of a rollout with their defaults, as an operator, ``staged_rollout`` and a plan file take them."""


def _choice(words: object) -> Callable[[str, object], object]:
    return lambda field, value: validate.choice(field, value, get_args(words))


def _optional(parse: Callable[[str, object], object]) -> Callable[[str, object], object]:
    return lambda field, value: None if value is None else parse(field, value)


def _switch(field: str, value: object) -> object:
    validate.switch(field, value)
    return value


def _rollback(field: str, value: object) -> object:
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return validate.percentage(field, value)
    return validate.choice(field, value, _ROLLBACK, "or a percentage")


def _window(field: str, value: object) -> object:
    if value is not None and not isinstance(value, ChangeWindow):
        raise InvalidInputError(field, f"expected a ChangeWindow, got {value!r}")
    return value


_PARSERS: Mapping[str, Callable[[str, object], object]] = {
    "segment": _optional(validate.text),
    "guardrails": lambda field, value: tuple(validate.items(field, value, "a list of guardrails")),
    "check_every": _optional(parse_positive_duration),
    "preflight": _switch,
    "window": _window,
    "preview": check_preview,
    "rollback": _rollback,
    "on_drift": _choice(OnDrift),
    "hold_tag": validate.text,
    "hold_timeout": _optional(parse_positive_duration),
    "on_hold_timeout": _choice(OnHoldTimeout),
    "sticky": _choice(Sticky),
    "decided": _choice(Decided),
    "catch_all": _optional(validate.text),
    "enable": _switch,
    "if_changed_since": _choice(IfChangedSince),
    "poll_interval": interval,
    "deferrable": _switch,
    "approval_timeout": _optional(parse_positive_duration),
    "on_reject": _choice(OnReject),
    "on_no_answer": _choice(OnReject),
}


def _check_stages(stages: tuple[ResolvedStage, ...]) -> None:
    if not stages:
        raise InvalidInputError("stages", "expected at least one stage, got none")
    percentages = [stage.percentage for stage in stages]
    if any(later <= earlier for earlier, later in pairwise(percentages)):
        raise InvalidInputError("stages", f"expected rising percentages, got {percentages}")


def _check_approvals(plan: RolloutPlan, percentages: list[int]) -> None:
    """Refuse approvals of what is no stage, and parameters of approvals where there are none."""
    stages = plan.approve_before
    if isinstance(stages, str | Mapping) or not isinstance(stages, Collection):
        raise InvalidInputError("approve_before", f"expected a list of stages such as [50], got {stages!r}")
    for place, stage in enumerate(stages):
        if stage not in percentages:
            raise InvalidInputError(f"approve_before[{place}]", f"{stage} is none of the stages {percentages}")
    if not stages:
        for name in ("approvers", "approval_timeout"):
            if getattr(plan, name):
                raise InvalidInputError(name, "is about approvals, and approve_before names no stage that needs one")


def _window_as_json(window: ChangeWindow) -> dict[str, Any]:
    return {**asdict(window), "days": list(window.days), "except_dates": [str(day) for day in window.except_dates]}


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _from_seconds(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
