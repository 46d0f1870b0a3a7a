"""The observations of a rollout from outside, and its version history.

``tests/invariants/__init__.py`` judges these observations. This module does not use the code of a rollout.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil
from typing import Any, Literal

from airflow_provider_ampexp.rollout import RolloutPlan

_NOTHING = timedelta(0)
_LATE = timedelta(minutes=2)  # a write that was decided within a window may arrive after it


@dataclass(frozen=True)
class Verdict:
    """The verdict of one check of all guardrails.

    :param at: the time, on the service's clock
    :param percentage: the percentage of the check
    :param acts: the effect of the check, by the limits of the plan: ``"roll back"`` is a fail that has its effect
    :param attempt: the attempt that ran the check, by its place in ``Observed.attempts``
    :param kept: ``False`` if the attempt died before a later attempt could know the verdict
    """

    at: datetime
    percentage: float
    acts: Literal["go", "wait", "hold", "roll back"]
    attempt: int
    kept: bool = True


@dataclass(frozen=True)
class Attempt:
    """One try of the task, with its deferrals.

    :param began: the time of its first poll of the flag, on the service's clock
    :param ended: the time of its end
    :param outcome: ``"lost"`` is a success that was not reported to Airflow
    :param said: its last message
    :param by_person: true if a person started it: the first try, and the first try after each clear
    """

    began: datetime
    ended: datetime
    outcome: Literal["success", "lost", "failed", "up_for_retry", "killed"]
    said: str = ""
    by_person: bool = False


@dataclass(frozen=True)
class Write:
    """The writer of a version of the rollout.

    :param attempt: the attempt that wrote the version, by its place in ``Observed.attempts``
    :param basis: the number of the newest version that this attempt had read when it sent the write
    """

    attempt: int
    basis: int


@dataclass(frozen=True)
class Observed:
    """The observations of one rollout.

    :param plan: the plan
    :param versions: the service's complete history, oldest first, each with ``version``, ``createdAt``, ``createdBy``
        and ``flagConfig``. Versions before the first attempt are the start.
    :param ours: the names of the rollout's key in the history
    :param attempts: the tries, in the order of their start
    :param verdicts: in the order of time; ``None`` if they are not known, so that no invariant uses them
    :param writes: the writes by the number of the version. Such a version belongs to the rollout, also if a person
        approved it. A version of ``ours`` without a write counts as a write of the attempt that began last. This
        attempt knew all earlier versions, except those of other actors within ``race``.
    :param shared: names of the rollout's key that other tasks use, too. Their changes are external, except a step that
        looks like a step of the rollout.
    :param last_read: the number of the newest version that each attempt has read, by its place in ``attempts``
    :param agreed: the numbers of versions of other actors that equal a write of the rollout in flight
    :param hidden: the numbers of versions that the service does not show in full
    :param race: the time between a poll and its effect (a write, or the end of an attempt). An edit within this time is
        not known.
    :param granularity: the possible difference of the compared clocks
    :param in_flight: the longest time from the decision of a write to its version
    :param prompt_within: the longest delay of a raise, outside of ``excused``; ``None`` for no limit
    :param excused: the times in which a raise was not possible, or no process of the rollout ran
    """

    plan: RolloutPlan
    versions: Sequence[Mapping[str, Any]]
    ours: Collection[str]
    attempts: Sequence[Attempt]
    verdicts: Sequence[Verdict] | None = None
    writes: Mapping[int, Write] = field(default_factory=dict)
    shared: Collection[str] = ()
    last_read: Mapping[int, int] = field(default_factory=dict)
    agreed: Collection[int] = ()
    hidden: Collection[int] = ()
    race: timedelta = _NOTHING
    granularity: timedelta = _NOTHING
    in_flight: timedelta = _NOTHING
    prompt_within: timedelta | None = None
    excused: Sequence[tuple[datetime, datetime]] = ()

    def run_of(self, attempt: int) -> int:
        """Return the first attempt of the run to which an attempt belongs. A person started that first attempt."""
        return max((place for place in range(attempt + 1) if self.attempts[place].by_person), default=0)

    def attempts_of(self, run: int) -> list[Attempt]:
        """Return all attempts of a run, in the order of their start."""
        return [attempt for place, attempt in enumerate(self.attempts) if self.run_of(place) == run]

    def told(self) -> str:
        """Return all observations in the order of time, to explain a violation."""
        lines = [(entry.at, str(entry)) for entry in History(self).entries]
        lines += [
            (verdict.at, f"attempt {verdict.attempt} asked at {verdict.percentage}: {verdict.acts}")
            for verdict in self.verdicts or ()
        ]
        for place, attempt in enumerate(self.attempts):
            person = ", begun by a person" if attempt.by_person else ""
            lines.append((attempt.began, f"attempt {place} saw it first{person}"))
            lines.append((attempt.ended, f"attempt {place} ended: {attempt.outcome}: {attempt.said}"))
        return "\n".join(f"{at:%d %H:%M:%S.%f} {what}" for at, what in sorted(lines, key=lambda line: line[0]))

    def runs(self) -> list[list[int]]:
        """Return the attempts of each run."""
        begun = [place for place in range(len(self.attempts)) if self.run_of(place) == place]
        return [[number for number in range(len(self.attempts)) if self.run_of(number) == place] for place in begun]


@dataclass(frozen=True)
class Stand:
    """The exposure of a flag. No user gets an archived or a disabled flag.

    :param shows: the percentage as the service shows it, which may be a fraction
    """

    percentage: float
    enabled: bool
    archived: bool = False
    shows: float | None = field(default=None, compare=False)

    @property
    def exposure(self) -> float:
        return self.percentage if self.enabled and not self.archived else 0

    @property
    def reached(self) -> float:
        """The percentage to compare with stages; -1 for a disabled flag, which is below a first stage of 0 %."""
        return self.percentage if self.enabled and not self.archived else -1

    @property
    def set_to(self) -> tuple[float, bool]:
        """The percentage and ``enabled``, as a rollout writes them: without fractions."""
        return self.percentage, self.enabled

    @property
    def shown_as(self) -> tuple[float, bool]:
        """The percentage and ``enabled``, as the service shows them."""
        return self.percentage if self.shows is None else self.shows, self.enabled

    def __str__(self) -> str:
        return f"{self.percentage:g} %{'' if self.enabled else ' (disabled)'}{' (archived)' if self.archived else ''}"


@dataclass(frozen=True)
class Entry:
    """A version. ``place`` is its index in the history, from 0."""

    place: int
    number: int
    at: datetime
    by: str
    is_ours: bool
    stand: Stand
    config: Mapping[str, Any]

    def __str__(self) -> str:
        return f"version {self.number} ({self.stand}, by {self.by} at {self.at:%Y-%m-%d %H:%M:%S})"


@dataclass(frozen=True)
class Change:
    """A version of the rollout, with the knowledge of the attempt that wrote it.

    :param known: the newest version that the attempt had read
    :param unseen: the versions between that version and the write, which the write overwrote
    """

    entry: Entry
    known: Entry
    unseen: tuple[Entry, ...]
    attempt: int

    @property
    def raises(self) -> bool:
        return self.entry.stand.exposure > self.known.stand.exposure

    @property
    def lowers(self) -> bool:
        """True if the write takes the feature from users. An unseen change may already have lowered the flag as far."""
        before = self.unseen[-1] if self.unseen else self.known
        return self.entry.stand.exposure < min(self.known.stand.exposure, before.stand.exposure)


class History:
    """The version history, with the changes of the rollout."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.entries = [self._entry(place, version) for place, version in enumerate(observed.versions)]
        self._places = {entry.number: entry.place for entry in self.entries}
        began = observed.attempts[0].began if observed.attempts else None
        self.changes = [
            self._change(entry)
            for entry in self.entries
            if entry.is_ours and entry.place and (began is None or entry.at >= began)
        ]

    def since(self, entry: Entry) -> datetime:
        """Return since when the flag has the exposure of a version, without a break."""
        began = entry
        for earlier in reversed(self.entries[: entry.place]):
            if earlier.stand != entry.stand:
                break
            began = earlier
        return began.at

    def soaks_since(self, entry: Entry) -> datetime:
        """Return the start of the soak: as ``since``, or the later time at which the rollout rounded a fraction up."""
        since = self.since(entry)
        whole = [
            later.at
            for earlier, later in pairwise(self.entries[: entry.place + 1])
            if later.is_ours and later.at > since and later.stand.shown_as != earlier.stand.shown_as
        ]
        return max(since, *whole) if whole else since

    def stand_at(self, moment: datetime) -> Entry:
        """Return the version that was in effect at a time."""
        return [entry for entry in self.entries if entry.at <= moment or entry.place == 0][-1]

    def stand_at_the_end(self, place: int) -> Entry:
        """Return the last version of an attempt, without changes of others within ``race`` after its last poll."""
        last, ended = self.stand_at(self.observed.attempts[place].ended), self.observed.attempts[place].ended
        read = self.observed.last_read.get(place)
        while read is not None and not last.is_ours and last.number > read and last.at > ended - self.observed.race:
            last = self.entries[last.place - 1]
        return last

    def external_changes(self) -> Iterator[tuple[Entry, Entry]]:
        """Yield each pair of a version and the next version that has another exposure.

        An archived flag counts as disabled, so archiving or restoring a disabled flag does not change the exposure.
        """
        for before, after in zip(self.entries, self.entries[1:], strict=False):
            if (before.stand.percentage, before.stand.reached) != (after.stand.percentage, after.stand.reached):
                yield before, after

    def shows(self, after: Entry) -> bool:
        """Return true if the visible history shows that a version changed the exposure.

        A version with the exposure of the last visible version shows no change.
        """
        shown = [entry for entry in self.entries[: after.place] if entry.number not in self.observed.hidden]
        return after.number not in self.observed.hidden and (not shown or shown[-1].stand != after.stand)

    def could_be_a_step(self, after: Entry) -> bool:
        """Return true if a version of another task with the same key could be a step of the rollout.

        Such a step sets the next stage, after the full soak of the stage before it, within the window and without the
        hold tag.
        """
        plan, before = self.observed.plan, self.entries[after.place - 1]
        stage, left = plan.next_above(before.stand.reached), plan.stage_at(before.stand.reached)
        if after.by not in self.observed.shared or stage is None or after.stand != Stand(stage.percentage, True):
            return False
        if left is not None and after.at - self.since(before) < left.soak:
            return False
        if plan.hold_tag in (before.config.get("tags") or ()):
            return False
        return plan.window is None or plan.window.is_open(after.at) or plan.window.is_open(after.at - _LATE)

    def overwritten(self, change: Change) -> Entry | None:
        """Return the last unseen change of exposure that a change overwrote; ``None`` if there is none."""
        before, moved = change.known, None
        for entry in change.unseen:
            if (entry.stand, entry.stand.shown_as) != (before.stand, before.stand.shown_as):
                moved = entry
            before = entry
        if moved is None or (moved.stand, moved.stand.shown_as) == (change.entry.stand, change.entry.stand.shown_as):
            return None
        return moved

    def puts_back(self, change: Change) -> bool:
        """Return true if a change restores a change that the same run overwrote, except later changes by others.

        A repeated restoration after a lost response counts, too. So does the restoration of a lower percentage of
        another task with the same key that then set the run's percentage again: the history does not show whose version
        is the last one.
        """
        now = change.entry.stand.set_to
        if any(
            change_after.entry in change.unseen
            and change_after.entry.stand.set_to == now
            and self.puts_back(change_after)
            for change_after in self.changes
        ):
            return True
        newest = (change.unseen[-1] if change.unseen else change.known).stand.shown_as
        shown = change.entry.stand.shown_as  # with a fraction, which a write of other fields does not change
        theirs = [place for place, value in enumerate(newest) if change.unseen and value == shown[place]]
        for earlier in self.changes:
            if earlier.entry.place >= change.entry.place:
                return False
            is_same_run = self.observed.run_of(earlier.attempt) == self.observed.run_of(change.attempt)
            lost = (self.overwritten(earlier) or self._maybe_overwritten(earlier)) if is_same_run else None
            if lost is not None and len(theirs) < len(now):
                wanted = lost.stand.set_to
                if all(value == wanted[place] or place in theirs for place, value in enumerate(now)):
                    return True
        return False

    def _maybe_overwritten(self, change: Change) -> Entry | None:
        """Return the lower version of another task with the same key that then set the change's exposure again."""
        lower: Entry | None = None
        for entry in self.entries[change.entry.place + 1 :]:
            if entry.by not in self.observed.shared or entry.at > change.entry.at + self.observed.race:
                return None
            if lower is not None and entry.stand == change.entry.stand:
                return lower
            lower = entry if entry.stand.exposure < change.entry.stand.exposure else None
        return None

    def _entry(self, place: int, version: Mapping[str, Any]) -> Entry:
        config = version["flagConfig"]
        by = str(version["createdBy"])
        at = datetime.fromisoformat(str(version["createdAt"]).replace("Z", "+00:00"))
        stand = _stand(config, self.observed.plan.segment)
        number = int(version["version"])
        is_ours = by in self.observed.ours or number in self.observed.writes
        return Entry(place, number, at, by, is_ours, stand, config)

    def _change(self, entry: Entry) -> Change:
        write = self.observed.writes.get(entry.number)
        known = self.entries[self._places[write.basis] if write else self._known_place(entry)]
        attempt = write.attempt if write else self._attempt_at(entry.at)
        return Change(entry, known, tuple(self.entries[known.place + 1 : entry.place]), attempt)

    def _known_place(self, entry: Entry) -> int:
        place = entry.place - 1
        while place and not self.entries[place].is_ours and self.entries[place].at > entry.at - self.observed.race:
            place -= 1
        return place

    def _attempt_at(self, moment: datetime) -> int:
        return max(
            (place for place, attempt in enumerate(self.observed.attempts) if attempt.began <= moment), default=0
        )


def _stand(config: Mapping[str, Any], segment: str | None) -> Stand:
    percentage = config["rolloutPercentage"]
    if segment is not None:
        percentage = next(
            (
                target_segment["percentage"]
                for target_segment in config["targetSegments"]
                if target_segment["name"] == segment
            ),
            0,
        )
    # A fraction lets in the same users as the next whole percentage.
    return Stand(ceil(percentage), bool(config["enabled"]), bool(config.get("deleted", False)), percentage)
