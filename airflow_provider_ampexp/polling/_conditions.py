"""What is waited for: pure functions from a flag or experiment, as it was read, to what that means for the wait.

Poking and triggers both ask these, so that they cannot disagree. There is no Airflow and no I/O here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Protocol, cast

from airflow_provider_ampexp.client.types import FlagConfig, Json
from airflow_provider_ampexp.ensure._errors import MissingFieldError, WrongStateError
from airflow_provider_ampexp.ensure._rollout_percentage import find_segment

_STICKY = (
    "Sticky bucketing is on: users keep the variant that they got once, so that more of them may have it than the "
    "percentage says."
)
KNOWN_STATES = ("planning", "running", "decision-made")


@dataclass(frozen=True)
class ConditionResult:
    """What was seen, and whether the wait is over: it is as wanted (``met``), can never be (``never``), or not yet."""

    status: Literal["met", "never", "waiting"]
    why: str
    seen: Mapping[str, Json] = field(default_factory=dict)
    unknown: str = ""
    """A value that nobody told this provider of, worth a line in the log."""
    warning: str = ""
    """What a person should know of it."""


class WaitCondition(Protocol):
    """Something to wait for."""

    name: ClassVar[str]

    def judge(self, config: FlagConfig) -> ConditionResult:
        """Look at a flag or experiment.

        :raises MissingFieldError: when the service does not show what the condition is about
        """


@dataclass(frozen=True)
class StateIs:
    """An experiment is in one of some states. Reaching one of ``failed_states`` ends the wait as ``never``."""

    states: Sequence[str]
    failed_states: Sequence[str] = ()
    name: ClassVar[str] = "state"

    def judge(self, config: FlagConfig) -> ConditionResult:
        """A wanted state counts also when the experiment is archived: decided and archived is decided."""
        state = str(_needed(config, "state"))
        seen = _seen(config, state=state, decision=config.get("decision"))
        unknown = "" if state in (*KNOWN_STATES, *self.states, *self.failed_states) else state
        if state in self.states:
            return ConditionResult("met", f"its state is {state!r}", seen)
        if state in self.failed_states:
            return ConditionResult("never", f"its state is {state!r}, one of failed_states", seen)
        if config.get("deleted"):
            return ConditionResult("never", f"it is archived, in the state {state!r}", seen, unknown)
        return ConditionResult(
            "waiting", f"its state is {state!r}; waiting for {' or '.join(self.states)}", seen, unknown
        )


@dataclass(frozen=True)
class RolloutAtLeast:
    """Users get the flag or experiment at ``at_least`` a percentage. If it is disabled, nobody gets it."""

    at_least: int
    segment: str | None = None
    name: ClassVar[str] = "rollout"

    def judge(self, config: FlagConfig) -> ConditionResult:
        """An archived flag is out of the running."""
        enabled = bool(_needed(config, "enabled"))
        try:
            percentage = self._percentage(config)
        except WrongStateError as error:
            users = "who gets it, the percentages of its segments say" if enabled else "it is disabled: nobody gets it"
            why = str(error).removesuffix(" Nothing was changed.")
            return ConditionResult(
                "never", f"{why} It may have been renamed or removed; {users}", _seen(config, enabled=enabled)
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
            return ConditionResult("never", f"it is archived, at {now}", seen)
        if not enabled and self.at_least > 0:
            return ConditionResult(
                "waiting", f"it is disabled, at {now}; waiting for {self.at_least} % and enabled", seen
            )
        if percentage < self.at_least:
            return ConditionResult("waiting", f"it is at {now}; waiting for {self.at_least} %", seen)
        return ConditionResult("met", f"it is at {now}", seen)

    def _percentage(self, config: FlagConfig) -> float:
        if self.segment is None:
            return cast("float", _needed(config, "rolloutPercentage"))
        found = find_segment(config, self.segment).get("percentage")
        if found is None:
            raise MissingFieldError(f"Amplitude does not show the percentage of segment {self.segment!r}.")
        return found


@dataclass(frozen=True)
class EnabledIs:
    """The flag or experiment is switched on, or off."""

    enabled: bool
    name: ClassVar[str] = "enabled"

    def judge(self, config: FlagConfig) -> ConditionResult:
        """Archived and off is off; archived, it is never on."""
        enabled = bool(_needed(config, "enabled"))
        seen = _seen(config, enabled=enabled)
        now = "enabled" if enabled else "disabled"
        if config.get("deleted") and (self.enabled or enabled):
            return ConditionResult("never", f"it is archived, and {now}", seen)
        if enabled is self.enabled:
            return ConditionResult("met", f"it is {now}", seen)
        return ConditionResult("waiting", f"it is {now}", seen)


_CONDITIONS: dict[str, type[StateIs] | type[RolloutAtLeast] | type[EnabledIs]] = {
    one.name: one for one in (StateIs, RolloutAtLeast, EnabledIs)
}


def as_plain(condition: WaitCondition) -> dict[str, Any]:
    """A condition as plain JSON values, for a trigger's arguments."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(cast("Any", condition))))
    return {"name": condition.name, **plain}


def from_plain(plain: Mapping[str, Any]) -> WaitCondition:
    """Read the condition that :func:`as_plain` wrote, in this version or another one: unknown keys are passed over."""
    condition = _CONDITIONS[plain["name"]]
    return condition(**{field.name: plain[field.name] for field in fields(condition) if field.name in plain})


def _needed(config: FlagConfig, name: str) -> object:
    value = cast("Mapping[str, object]", config).get(name)
    if value is None:
        raise MissingFieldError(f"Amplitude does not show {name!r} of {config.get('key') or config['id']!r}.")
    return value


def _seen(config: FlagConfig, **values: Json) -> dict[str, Json]:
    return {"id": config["id"], "key": config.get("key"), **values}
