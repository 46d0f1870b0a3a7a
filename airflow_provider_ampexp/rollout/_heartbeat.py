"""The heartbeat of a rollout: where the rollout left the flag, and when its next step is due. Pure.

A rollout writes its heartbeat before each step. The watchdog reads it on another machine, and lowers the flag if the
step that was due never came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, cast
from urllib.parse import quote

from airflow_provider_ampexp.rollout._actions import Action, Complete, RollBack, SetStage, Wait
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._history import (
    Exposure,
    ExposureChange,
    FlagSnapshot,
    exposure_changes,
    version_of_exposure,
    versions_before,
)
from airflow_provider_ampexp.rollout._own_steps import is_next_stage
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import HeartbeatEnd

_FORMAT = 1
_LAST_YEAR = 9000  # so that a duration can be added


class HeartbeatError(Exception):
    """A heartbeat that this version cannot read."""


@dataclass(frozen=True)
class RolloutSubject:
    """The flag of a rollout, and the rollout's task.

    :param task: the DAG, the run and the task, for a person
    :param base_url: the address of the service
    """

    task: str
    base_url: str
    kind: Literal["flags", "experiments"]
    object_id: str
    key: str | None = None
    project_id: str | None = None
    segment: str | None = None
    catch_all: str | None = None
    hold_tag: str = ""

    @property
    def file_name(self) -> str:
        """The name of the heartbeat's file. It is the same in all rollouts of this flag and segment."""
        segment = "" if self.segment is None else f"+{quote(self.segment, safe='')}"
        return f"{self.kind}-{quote(self.object_id, safe='')}{segment}.json"

    def __str__(self) -> str:
        noun = "flag" if self.kind == "flags" else "experiment"
        segment = "" if self.segment is None else f", segment {self.segment!r}"
        return f"{noun} {self.key!r} (id {self.object_id}{segment})"


@dataclass(frozen=True)
class Heartbeat:
    """One heartbeat. All times are on the service's clock.

    :param at: when it was written
    :param due: when the rollout's next step is due
    :param exposure: the exposure of the flag at that time
    :param version: the version that set this exposure; ``None`` if the history does not show it
    :param lower_to: the last confirmed exposure. It is ``exposure`` if the present stage is confirmed.
    :param next_stage: the stage that the rollout is about to set
    :param audience: the digest of the audience at that time
    :param ended: how the rollout ended; ``None`` until then
    """

    subject: RolloutSubject
    at: datetime
    due: datetime
    exposure: Exposure
    version: int | None
    lower_to: Exposure
    next_stage: int | None = None
    audience: Mapping[str, str] = field(default_factory=dict)
    ended: str | None = None

    def is_at_its_step(self, seen: FlagSnapshot) -> bool:
        """Whether the flag is where this rollout put it, and no other actor has changed the exposure.

        The rollout may have died after it set the announced stage, and before it wrote the next heartbeat.
        """
        set_by = version_of_exposure(seen)
        if set_by is None or self.version is None:
            return False
        if seen.exposure == self.exposure:
            return set_by.version == self.version
        if self.next_stage is None or seen.exposure != Exposure(self.next_stage, enabled=True):
            return False
        change = ExposureChange(self.exposure, seen.exposure, set_by)
        before = version_of_exposure(FlagSnapshot(self.exposure, history=versions_before(seen.history, change)))
        return before is not None and before.version == self.version

    def as_json(self) -> str:
        """Return the heartbeat as JSON."""
        plain = {**asdict(self), "at": self.at.isoformat(), "due": self.due.isoformat()}
        return json.dumps({"format": _FORMAT, **plain}, indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Heartbeat:
        """Read what :meth:`as_json` wrote. Unknown fields are ignored.

        :raises HeartbeatError: when it is no heartbeat, or one of a later format
        """
        try:
            plain = json.loads(text)
            if plain["format"] != _FORMAT:
                raise HeartbeatError(f"expected format {_FORMAT}, got {plain['format']!r}")
            beat = cls(
                subject=_subject(plain["subject"]),
                at=datetime.fromisoformat(plain["at"]),
                due=datetime.fromisoformat(plain["due"]),
                exposure=_exposure(plain["exposure"]),
                version=None if plain["version"] is None else int(plain["version"]),
                lower_to=_exposure(plain["lower_to"]),
                next_stage=None if plain["next_stage"] is None else int(plain["next_stage"]),
                audience=dict(plain["audience"]),
                ended=_text("ended", plain["ended"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise HeartbeatError(f"not a heartbeat ({type(error).__name__}: {error})") from None
        if problem := beat._problem():
            raise HeartbeatError(f"not a heartbeat ({problem})")
        return beat

    def _problem(self) -> str | None:
        """Return what is wrong with the values, if anything."""
        for name, moment in (("at", self.at), ("due", self.due)):
            if moment.tzinfo is None or moment.year > _LAST_YEAR:
                return f"{name}: expected a time with a zone, before the year {_LAST_YEAR + 1}, got {moment}"
        for name, exposure in (("exposure", self.exposure), ("lower_to", self.lower_to)):
            if not 0 <= exposure.percentage <= 100:
                return f"{name}: expected a percentage from 0 to 100, got {exposure.percentage}"
        if not self.subject.task.isprintable():
            return f"subject.task: expected one line, got {self.subject.task!r}"
        return "ended: expected how it ended, got an empty text" if self.ended == "" else None


def heartbeat(
    subject: RolloutSubject, plan: RolloutPlan, seen: FlagSnapshot, state: RolloutState, action: Action, now: datetime
) -> Heartbeat:
    """Return the heartbeat before an action.

    :param state: the state after the observation
    :param now: the service's clock
    """
    set_by = version_of_exposure(seen)
    beat = Heartbeat(
        subject=subject,
        at=now,
        due=action.until if isinstance(action, Wait) else now,
        exposure=seen.exposure,
        version=None if set_by is None else set_by.version,
        lower_to=_confirmed(plan, seen, state, now),
        audience=seen.audience.digest(),
    )
    if isinstance(action, SetStage):
        return replace(beat, lower_to=seen.exposure, next_stage=action.stage.percentage)
    if isinstance(action, RollBack):
        return replace(beat, lower_to=action.to or seen.exposure)
    if isinstance(action, Complete) and _is_complete(plan, seen):
        return replace(beat, ended=HeartbeatEnd.FINISHED)
    return beat


def last_heartbeat(subject: RolloutSubject, seen: FlagSnapshot, ended: HeartbeatEnd, now: datetime) -> Heartbeat:
    """Return the heartbeat at the end of a rollout.

    :param ended: how it ended
    """
    return Heartbeat(subject, now, now, seen.exposure, None, seen.exposure, ended=ended)


def _confirmed(plan: RolloutPlan, seen: FlagSnapshot, state: RolloutState, now: datetime) -> Exposure:
    """Return the last confirmed exposure: a stage is confirmed when the guardrails pass after its soak.

    Without a raise by this plan there is no stage to confirm, so it is the present exposure.
    """
    raised = _raise_to_present(plan, seen)
    if raised is None:
        return seen.exposure
    view = Evaluation(plan, seen, state, now)
    return seen.exposure if view.is_checked and view.guardrails_passed and not view.is_soaking else raised.before


def _raise_to_present(plan: RolloutPlan, seen: FlagSnapshot) -> ExposureChange | None:
    """Return the change to the present exposure, if it set exactly the plan's next stage."""
    *_, last = (None, *exposure_changes(seen.history))
    if last is None or last.after != seen.exposure or not last.raises:
        return None
    return last if is_next_stage(plan, last) else None


def _is_complete(plan: RolloutPlan, seen: FlagSnapshot) -> bool:
    """Whether the whole rollout is complete, and not only this task of a group."""
    is_whole = plan.only is None and plan.approval is None
    return is_whole or seen.exposure.reached >= plan.all_stages[-1].percentage


def _subject(plain: Mapping[str, Any]) -> RolloutSubject:
    given = {name: _text(f"subject.{name}", plain[name]) for name in RolloutSubject.__dataclass_fields__}
    for name in ("task", "base_url", "kind", "object_id", "hold_tag"):
        if given[name] is None:
            raise HeartbeatError(f"not a heartbeat (subject.{name}: expected a text, got nothing)")
    return RolloutSubject(**cast("dict[str, Any]", given))


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise HeartbeatError(f"not a heartbeat ({name}: expected a text, got {value!r})")
    if value is not None:
        value.encode()  # half of a surrogate pair cannot be printed
    return value


def _exposure(plain: Mapping[str, Any]) -> Exposure:
    percentage, enabled = plain["percentage"], plain["enabled"]
    if isinstance(percentage, bool) or not isinstance(percentage, int | float) or not isinstance(enabled, bool):
        raise HeartbeatError(f"not an exposure: {dict(plain)}")
    return Exposure(percentage, enabled)
