"""The rule of the watchdog: from a heartbeat and the observed flag to a verdict. Pure.

A wrong lowering does more harm than a late one. So in doubt the watchdog leaves the flag as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.client._timestamps import format_timestamp
from airflow_provider_ampexp.rollout._audience import changed_fields
from airflow_provider_ampexp.rollout._heartbeat import Heartbeat
from airflow_provider_ampexp.rollout._history import FlagSnapshot


class Outcome(Enum):
    """The result of the watchdog for a flag or a file. The value is the exit code."""

    QUIET = 0
    """Nothing to do."""
    LOWERED = 1
    MISUSED = 2
    LATE = 3
    """A step is late, and the flag is left as it is for now."""
    UNKNOWN = 4
    """A heartbeat or a flag cannot be read."""
    NOT_CONFIRMED = 5
    """A flag had to be lowered, and that is not confirmed."""


_WORST_FIRST = (Outcome.NOT_CONFIRMED, Outcome.LOWERED, Outcome.UNKNOWN, Outcome.LATE)


def worst(outcomes: list[Outcome]) -> Outcome:
    """Return the outcome that a person must know first."""
    return next((outcome for outcome in _WORST_FIRST if outcome in outcomes), Outcome.QUIET)


@dataclass(frozen=True)
class HeartbeatVerdict:
    """The verdict about one heartbeat.

    :param lowers: whether the flag must be lowered to the heartbeat's ``lower_to``
    """

    outcome: Outcome
    why: str
    lowers: bool = False


@dataclass(frozen=True)
class Limits:
    """The conditions under which the watchdog lowers a flag.

    :param after: the time by which a step must be late
    :param above: a flag at this percentage or below is left as it is
    """

    after: timedelta
    above: int = 0

    def is_late(self, beat: Heartbeat, now: datetime) -> bool:
        """Return true if a person should know that a step is late: after half of the time."""
        return now > beat.due + self.after / 2

    def is_overdue(self, beat: Heartbeat, now: datetime) -> bool:
        """Return true if the rollout counts as dead."""
        return now > beat.due + self.after


def judge(beat: Heartbeat, seen: FlagSnapshot, now: datetime, limits: Limits) -> HeartbeatVerdict:
    """Judge a heartbeat of a rollout that has not ended.

    :param now: the service's clock
    """
    if not limits.is_late(beat, now):
        return HeartbeatVerdict(
            Outcome.QUIET, f"in time at {seen.exposure}: the next step is due {format_timestamp(beat.due)}"
        )
    late, left = f"the step that was due {format_timestamp(beat.due)} is late", f"Left at {seen.exposure}"
    if seen.exposure.effective_percentage <= beat.lower_to.effective_percentage:
        return HeartbeatVerdict(Outcome.QUIET, f"{late}, but no user gets it beyond the last confirmed stage. {left}")
    if not beat.is_at_its_step(seen):
        return HeartbeatVerdict(Outcome.QUIET, f"{late}, but another actor changed the flag. {left}")
    if seen.exposure.effective_percentage <= limits.above:
        return HeartbeatVerdict(Outcome.QUIET, f"{late}, but {seen.exposure} is not above {limits.above} %. {left}")
    if not beat.audience:
        return HeartbeatVerdict(Outcome.LATE, f"{late}, but the heartbeat does not have the audience. {left}")
    if changed := changed_fields(beat.audience, seen.audience.digest()):
        return HeartbeatVerdict(Outcome.LATE, f"{late}, but another actor changed {', '.join(changed)}. {left}")
    if has_tag(seen.tags, beat.subject.hold_tag):
        return HeartbeatVerdict(Outcome.LATE, f"{late}, but the flag has the tag {beat.subject.hold_tag!r}. {left}")
    if not limits.is_overdue(beat, now):
        at = format_timestamp(beat.due + limits.after)
        return HeartbeatVerdict(Outcome.LATE, f"{late}. {left}, and lowered to {beat.lower_to} after {at}")
    return HeartbeatVerdict(Outcome.LOWERED, late, lowers=True)
