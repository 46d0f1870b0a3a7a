"""The conditions of waits: pure functions from a flag or experiment to the result of the wait.

Sensors and triggers use the same functions. No Airflow and no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from airflow_provider_ampexp.ensure._errors import MissingFieldError, WrongStateError
from airflow_provider_ampexp.ensure._segments import find_segment
from airflow_provider_ampexp.polling._statuses import WaitStatus

if TYPE_CHECKING:
    from airflow_provider_ampexp.client.types import FlagConfig, Json

_STICKY = "Sticky bucketing is on: users keep their variant, so more users than the percentage may have it."
KNOWN_STATES = ("planning", "running", "decision-made")


@dataclass(frozen=True)
class ConditionResult:
    """The result of one poll: the status of the wait, and the values."""

    status: WaitStatus
    why: str
    seen: Mapping[str, Json] = field(default_factory=dict)
    unknown: str = ""
    """An undocumented value, for a line in the log."""
    warning: str = ""
    """A warning for a person."""


class WaitCondition(Protocol):
    """A condition of a wait."""

    name: ClassVar[str]

    def judge(self, config: FlagConfig) -> ConditionResult:
        """Judge a flag or experiment.

        :raises MissingFieldError: when the service does not show the field of the condition
        """


@dataclass(frozen=True)
class StateIs:
    """An experiment has one of some states. One of ``failed_states`` ends the wait as ``never``."""

    states: Sequence[str]
    failed_states: Sequence[str] = ()
    name: ClassVar[str] = "state"

    def judge(self, config: FlagConfig) -> ConditionResult:
        """Judge the state. A wanted state also counts if the experiment is archived."""
        state = str(_needed(config, "state"))
        seen = _seen(config, state=state, decision=config.get("decision"))
        unknown = "" if state in (*KNOWN_STATES, *self.states, *self.failed_states) else state
        if state in self.states:
            return ConditionResult(WaitStatus.MET, f"its state is {state!r}", seen)
        if state in self.failed_states:
            return ConditionResult(WaitStatus.NEVER, f"its state is {state!r}, one of failed_states", seen)
        if config.get("deleted"):
            return ConditionResult(WaitStatus.NEVER, f"it is archived, in the state {state!r}", seen, unknown)
        return ConditionResult(
            WaitStatus.WAITING, f"its state is {state!r}; waiting for {' or '.join(self.states)}", seen, unknown
        )


@dataclass(frozen=True)
class RolloutAtLeast:
    """The flag or experiment is enabled, and its percentage is ``at_least`` this one."""

    at_least: int
    segment: str | None = None
    name: ClassVar[str] = "rollout"

    def judge(self, config: FlagConfig) -> ConditionResult:
        """Judge the percentage. An archived flag can never meet the condition."""
        enabled = bool(_needed(config, "enabled"))
        try:
            percentage = self._percentage(config)
        except WrongStateError as error:
            users = (
                "the percentages of its segments decide who gets it" if enabled else "it is disabled: nobody gets it"
            )
            why = str(error).removesuffix(" Nothing was changed.")
            return ConditionResult(
                WaitStatus.NEVER, f"{why} It may have been renamed or removed; {users}", _seen(config, enabled=enabled)
            )
        seen = _seen(config, percentage=percentage, enabled=enabled)
        now = f"{percentage} %" + (f" in segment {self.segment!r}" if self.segment is not None else "")
        if config.get("stickyBucketing") is True:
            return replace(self._verdict(config, percentage, enabled, now, seen), warning=_STICKY)
        return self._verdict(config, percentage, enabled, now, seen)

    def _verdict(
        self, config: FlagConfig, percentage: float, enabled: bool, now: str, seen: Mapping[str, Json]
    ) -> ConditionResult:
        if config.get("deleted"):
            return ConditionResult(WaitStatus.NEVER, f"it is archived, at {now}", seen)
        if not enabled and self.at_least > 0:
            return ConditionResult(
                WaitStatus.WAITING, f"it is disabled, at {now}; waiting for {self.at_least} % and enabled", seen
            )
        if percentage < self.at_least:
            return ConditionResult(WaitStatus.WAITING, f"it is at {now}; waiting for {self.at_least} %", seen)
        return ConditionResult(WaitStatus.MET, f"it is at {now}", seen)

    def _percentage(self, config: FlagConfig) -> float:
        if self.segment is None:
            return cast("float", _needed(config, "rolloutPercentage"))
        found = find_segment(config, self.segment).get("percentage")
        if found is None:
            raise MissingFieldError(f"Amplitude does not show the percentage of segment {self.segment!r}.")
        return found


@dataclass(frozen=True)
class EnabledIs:
    """The flag or experiment is enabled, or disabled."""

    enabled: bool
    name: ClassVar[str] = "enabled"

    def judge(self, config: FlagConfig) -> ConditionResult:
        """Judge the enabled field. An archived flag can be disabled, but never enabled."""
        enabled = bool(_needed(config, "enabled"))
        seen = _seen(config, enabled=enabled)
        now = "enabled" if enabled else "disabled"
        if config.get("deleted") and (self.enabled or enabled):
            return ConditionResult(WaitStatus.NEVER, f"it is archived, and {now}", seen)
        if enabled is self.enabled:
            return ConditionResult(WaitStatus.MET, f"it is {now}", seen)
        return ConditionResult(WaitStatus.WAITING, f"it is {now}", seen)


_CONDITIONS: dict[str, type[StateIs] | type[RolloutAtLeast] | type[EnabledIs]] = {
    condition.name: condition for condition in (StateIs, RolloutAtLeast, EnabledIs)
}


def as_plain(condition: WaitCondition) -> dict[str, Any]:
    """Return a condition as JSON values, for a trigger's arguments."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(cast("Any", condition))))
    return {"name": condition.name, **plain}


def from_plain(plain: Mapping[str, Any]) -> WaitCondition:
    """Read a condition that :func:`as_plain` wrote in this or another version. Unknown keys are ignored."""
    condition = _CONDITIONS[plain["name"]]
    return condition(**{field.name: plain[field.name] for field in fields(condition) if field.name in plain})


def _needed(config: FlagConfig, name: str) -> object:
    value = cast("Mapping[str, object]", config).get(name)
    if value is None:
        raise MissingFieldError(f"Amplitude does not show {name!r} of {config.get('key') or config['id']!r}.")
    return value


def _seen(config: FlagConfig, **values: Json) -> dict[str, Json]:
    return {"id": config["id"], "key": config.get("key"), **values}
