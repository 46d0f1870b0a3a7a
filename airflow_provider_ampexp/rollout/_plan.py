"""What a rollout is meant to be: stages, how long each soaks, and what happens when it goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._change_window import ChangeWindow

RollbackTo: TypeAlias = Literal["start", "previous", "off", "hold"] | int
OnDrift: TypeAlias = Literal["stop", "adopt"]
OnHoldTimeout: TypeAlias = Literal["stop", "rollback"]
Sticky: TypeAlias = Literal["refuse", "switch_off"]
Decided: TypeAlias = Literal["refuse", "ignore"]
DurationLike: TypeAlias = timedelta | int | float | str

HOLD_TIMEOUT = timedelta(hours=24)
"""How long guardrails may hold a rollout at a stage where nothing else is said."""

_RECHECK = timedelta(minutes=5)
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_SPAN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*([dhms])\s*)+", re.IGNORECASE)
_SPAN_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([dhms])", re.IGNORECASE)


@dataclass(frozen=True)
class Stage:
    """One step of a rollout.

    :param percentage: who gets the feature, 0 to 100, whole
    :param soak: how long to stay before the next stage: a ``timedelta``, or a text such as ``"2h 30m"``. When
        it is left out, the rollout's own ``soak`` holds, save for the last stage, which then does not soak.
    """

    percentage: int
    soak: DurationLike | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "percentage", validate.percentage("percentage", self.percentage))
        if self.soak is not None:
            object.__setattr__(self, "soak", parse_duration("soak", self.soak))


@dataclass(frozen=True)
class ResolvedStage:
    """A stage whose soak is settled."""

    percentage: int
    soak: timedelta


@dataclass(frozen=True)
class RolloutPlan:
    """Stages, strictly rising, and the rules that hold on the way.

    :param stages: at least one
    :param segment: the target segment that is ramped; ``None`` for the users whom no segment captured
    :param rollback: where a failed check takes it: ``"start"`` (what it was before this rollout), ``"previous"`` (one
        stage down), a percentage, ``"off"`` (0 and the flag disabled) or ``"hold"`` (leave it)
    :param on_drift: when somebody else changes the flag meanwhile: ``"stop"``, or ``"adopt"`` to go on from there.
        Somebody's disabling or archiving it stops the rollout either way.
    :param enable: whether a disabled flag is enabled with the first stage
    :param checked: whether there are guardrails
    :param check_every: how often they are asked during a soak; ``None`` for at its end only
    :param preflight: whether the guardrails are asked once before the first raise if they can answer at all
    :param window: when the percentage may be raised; ``None`` for at any time. A rollback waits for nothing.
    :param hold_timeout: how long guardrails may hold the rollout at a stage, counted from the first such answer in a
        row; ``None`` for as long as they like. A person who holds it by the tag has no limit.
    :param on_hold_timeout: what follows then: ``"stop"`` leaves the flag and fails, ``"rollback"`` takes it down
    :param hold_tag: while the flag carries this tag nothing is raised; so a person holds a rollout from Amplitude
    :param sticky: what to do with sticky bucketing, which keeps users in whom a rollback is to take out: ``"refuse"``
        the rollout, or ``"switch_off"`` before the first stage. With ``rollback="off"`` or ``"hold"`` it stays on.
    :param decided: what to do with an experiment whose decision is ``rollback``: ``"refuse"`` or ``"ignore"``
    :param catch_all: the target segment that has no conditions on purpose; ``None`` for none
    :param only: the one stage that is carried out, where each stage is a task of its own; ``None`` for all of them
    :param approval: the approval that is awaited, where that is a task of its own. Nothing is raised then.
    """

    stages: tuple[ResolvedStage, ...]
    segment: str | None = None
    rollback: RollbackTo = "start"
    on_drift: OnDrift = "stop"
    enable: bool = True
    checked: bool = False
    check_every: timedelta | None = None
    preflight: bool = True
    window: ChangeWindow | None = None
    hold_tag: str = "rollout-hold"
    hold_timeout: timedelta | None = HOLD_TIMEOUT
    on_hold_timeout: OnHoldTimeout = "stop"
    sticky: Sticky = "refuse"
    decided: Decided = "refuse"
    catch_all: str | None = None
    only: int | None = None
    approval: ApprovalPolicy | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise InvalidInputError("stages", "there is none")
        percentages = [stage.percentage for stage in self.stages]
        if any(later <= earlier for earlier, later in pairwise(percentages)):
            raise InvalidInputError("stages", f"must rise from one to the next, and are {percentages}")
        if isinstance(self.rollback, bool) or self.rollback not in ("start", "previous", "off", "hold"):
            if not isinstance(self.rollback, int):
                raise InvalidInputError(
                    "rollback", f"{self.rollback!r} is not 'start', 'previous', 'off', 'hold' or a percentage"
                )
            validate.percentage("rollback", self.rollback)
        if self.on_drift not in ("stop", "adopt"):
            raise InvalidInputError("on_drift", f"{self.on_drift!r} is neither 'stop' nor 'adopt'")
        if self.sticky not in ("refuse", "switch_off"):
            raise InvalidInputError("sticky", f"expected 'refuse' or 'switch_off', got {self.sticky!r}")
        if self.decided not in ("refuse", "ignore"):
            raise InvalidInputError("decided", f"expected 'refuse' or 'ignore', got {self.decided!r}")
        if self.on_hold_timeout not in get_args(OnHoldTimeout):
            raise InvalidInputError("on_hold_timeout", f"expected 'stop' or 'rollback', got {self.on_hold_timeout!r}")
        if self.hold_timeout is not None and self.hold_timeout <= timedelta(0):
            raise InvalidInputError("hold_timeout", "must be greater than zero")
        validate.switch("enable", self.enable)
        validate.switch("preflight", self.preflight)
        if self.window is not None and not isinstance(self.window, ChangeWindow):
            raise InvalidInputError("window", f"{self.window!r} is not a ChangeWindow")
        if self.check_every is not None and self.check_every <= timedelta(0):
            raise InvalidInputError("check_every", "must be more than nothing")
        if self.only is not None and self.only not in percentages:
            raise InvalidInputError("only", f"{self.only} is none of the stages {percentages}")
        if self.approval is not None and self.approval.before not in percentages:
            raise InvalidInputError("approve_before", f"{self.approval.before} is none of the stages {percentages}")

    @property
    def recheck(self) -> timedelta:
        """How long an answer of the guardrails holds, past the soak: then they are asked again."""
        return self.check_every or _RECHECK

    @property
    def own_stages(self) -> tuple[ResolvedStage, ...]:
        """The stages that are carried out here."""
        if self.approval is not None:
            return ()
        return tuple(stage for stage in self.stages if self.only in (None, stage.percentage))

    def stage_at(self, percentage: float) -> ResolvedStage | None:
        """The stage of exactly this percentage."""
        return next((stage for stage in self.stages if stage.percentage == percentage), None)

    def next_above(self, percentage: float) -> ResolvedStage | None:
        """The lowest stage above this percentage."""
        return next((stage for stage in self.stages if stage.percentage > percentage), None)

    def highest_below(self, percentage: float) -> ResolvedStage | None:
        """The highest stage below this percentage."""
        return next((stage for stage in reversed(self.stages) if stage.percentage < percentage), None)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for whoever shows it. Lengths of time are in seconds."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            "stages": [[one.percentage, one.soak.total_seconds()] for one in self.stages],
            "check_every": _seconds(self.check_every),
            "hold_timeout": _seconds(self.hold_timeout),
            "window": None if self.window is None else _as_json(self.window),
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
    def from_json(cls, told: Mapping[str, Any]) -> RolloutPlan:
        """The same again. What a later version says besides is passed over.

        :raises InvalidInputError: when it is no plan
        """
        known = {field.name: told[field.name] for field in fields(cls) if field.name in told}
        known["stages"] = tuple(ResolvedStage(each, timedelta(seconds=soak)) for each, soak in told["stages"])
        known["check_every"] = _span_of(told.get("check_every"))
        if "hold_timeout" in told:
            known["hold_timeout"] = _span_of(told["hold_timeout"])
        if (window := told.get("window")) is not None:
            known["window"] = ChangeWindow(**window)
        if (approval := told.get("approval")) is not None:
            known["approval"] = ApprovalPolicy(**{**approval, "timeout": _span_of(approval["timeout"])})
        return cls(**known)


def parse_stages(stages: object, soak: DurationLike | None = None) -> tuple[ResolvedStage, ...]:
    """Read stages in any of the forms in which a DAG may give them.

    :param stages: percentages, ``Stage`` objects or mappings with ``percentage`` and ``soak``; or a text of JSON or of
        percentages with commas (what a template renders to)
    :param soak: for all stages that name none, save the last
    :raises InvalidInputError: which names the stage
    """
    each = None if soak is None else parse_duration("soak", soak)
    listed = _listed(stages)
    last = len(listed) - 1
    return tuple(_stage(one, place, each if place != last else None) for place, one in enumerate(listed))


def check_soaks(stages: object, soak: DurationLike | None) -> None:
    """Refuse several stages of which one but the last has no soak: users would get them all within a second.

    :raises InvalidInputError: names the stage
    """
    if soak is not None:
        return
    for place, stage in enumerate(_listed(stages)[:-1]):
        own = stage.soak if isinstance(stage, Stage) else stage.get("soak") if isinstance(stage, Mapping) else None
        if own is None:
            raise InvalidInputError(
                "soak", f"is missing, and stages[{place}] has none of its own; '0s' is no soak, on purpose"
            )


def parse_duration(field: str, value: object) -> timedelta:
    """Read a length of time: a ``timedelta``, or a text such as ``"30m"`` or ``"1d 12h"``.

    A bare number is refused, except 0: 12 may mean seconds or hours, and a soak that is too short lets everybody in.

    :raises InvalidInputError: names the field
    """
    span = _duration(value)
    if span is None:
        raise InvalidInputError(field, f"{value!r} is not a length of time such as timedelta(hours=2) or '2h'")
    if span < timedelta(0):
        raise InvalidInputError(field, f"must not be negative, got {value!r}")
    if span and not isinstance(value, timedelta) and not _has_unit(value):
        raise InvalidInputError(field, f"{value} has no unit; write '{value}s', '{value}m', '{value}h' or '{value}d'")
    return span


def interval(field: str, value: object) -> float:
    """Read the time between two looks, in seconds: a number of seconds, or what :func:`parse_duration` takes.

    :raises InvalidInputError: names the field; also when it is 0
    """
    span = _duration(value)
    if span is None or span <= timedelta(0):
        raise InvalidInputError(field, f"expected more than 0 seconds, such as 60 or '1m', got {value!r}")
    return span.total_seconds()


def _has_unit(value: object) -> bool:
    return isinstance(value, str) and _SPAN.fullmatch(value) is not None


def format_duration(span: timedelta) -> str:
    """A duration as a person says it: ``10 minutes``, ``36 hours``, ``1.5 seconds``."""
    seconds = span.total_seconds()
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    unit, length = next((one for one in units if seconds and seconds % one[1] == 0), units[-1])
    count = seconds / length
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def _as_json(window: ChangeWindow) -> dict[str, Any]:
    return {**asdict(window), "days": list(window.days), "except_dates": [str(day) for day in window.except_dates]}


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _span_of(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _duration(value: object) -> timedelta | None:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, str) and _SPAN.fullmatch(value):
            parts = _SPAN_PART.findall(value)
            return sum((timedelta(**{_UNITS[unit.lower()]: float(number)}) for number, unit in parts), timedelta())
        return timedelta(seconds=float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _listed(stages: object) -> list[Any]:
    if isinstance(stages, str):
        text = stages.strip()
        try:
            stages = json.loads(text if text.startswith("[") else f"[{text}]")
        except ValueError:
            raise InvalidInputError("stages", f"{text!r} is neither a list of percentages nor JSON") from None
    if isinstance(stages, Mapping) or not isinstance(stages, Iterable):
        raise InvalidInputError("stages", f"a list is wanted, not {type(stages).__name__}")
    return list(stages)


def _stage(one: object, place: int, soak: timedelta | None) -> ResolvedStage:
    field = f"stages[{place}]"
    percentage, own = one, None
    if isinstance(one, Stage):
        percentage, own = one.percentage, one.soak
    elif isinstance(one, Mapping):
        if "percentage" not in one or set(one) - {"percentage", "soak"}:
            raise InvalidInputError(field, f"has 'percentage' and 'soak', not {sorted(map(str, one))}")
        percentage, own = one["percentage"], one.get("soak")
    if isinstance(percentage, str) and percentage.strip().isdigit():
        percentage = int(percentage)
    if own is not None:
        soak = parse_duration(f"{field}.soak", own)
    return ResolvedStage(validate.percentage(field, percentage), soak or timedelta(0))
