"""What was observed of one rollout from outside, and how its version history reads.

This is what ``tests/invariants/__init__.py`` judges. It asks nothing of the code that carries a rollout out.
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
_LATE = timedelta(minutes=2)  # a write that was decided inside a window may come after it


@dataclass(frozen=True)
class Verdict:
    """What the guardrails said together, once.

    :param at: when, on the service's clock
    :param percentage: of what they said it
    :param acts: what that asks for, by the limits of the plan: ``"roll back"`` is a fail that has its effect
    :param attempt: which attempt asked, by its place in ``Observed.attempts``
    :param kept: ``False`` where the attempt died before anybody else could know of it
    """

    at: datetime
    percentage: float
    acts: Literal["go", "wait", "hold", "roll back"]
    attempt: int
    kept: bool = True


@dataclass(frozen=True)
class Attempt:
    """One try of the task, its deferrals included.

    :param began: when it first saw the flag, on the service's clock
    :param ended: when it ended
    :param outcome: ``"lost"`` is a success that Airflow never heard of
    :param said: the message that it ended with
    :param by_person: whether a person began it: the first one, and the first one after each clearing
    """

    began: datetime
    ended: datetime
    outcome: Literal["success", "lost", "failed", "up_for_retry", "killed"]
    said: str = ""
    by_person: bool = False


@dataclass(frozen=True)
class Write:
    """What is known of a version of ours besides itself.

    :param attempt: which attempt wrote it, by its place in ``Observed.attempts``
    :param basis: the number of the newest version that this attempt had seen when it sent it
    """

    attempt: int
    basis: int


@dataclass(frozen=True)
class Observed:
    """One rollout, as it was seen from outside.

    :param plan: what it was to be
    :param versions: the service's true history, oldest first, each with ``version``, ``createdAt``, ``createdBy`` and
        ``flagConfig``; what is older than the first attempt is where it started from
    :param ours: the names by which the service knows the rollout's changes
    :param attempts: the tries in the order in which they began
    :param verdicts: in the order of time; ``None`` when nobody kept them, and then nothing is judged by them
    :param writes: by the number of the version; what is in it is ours, whoever approved it. One of ours that is not in
        it is taken for that of the attempt that began last, and what was there before it for known, save what somebody
        did within ``race``.
    :param shared: names that the rollout's key has for other tasks, too. What they do is external, but for a step that
        nothing tells from one of the rollout's own attempts.
    :param last_read: the number of the newest version that each attempt has read, by its place in ``attempts``
    :param agreed: the numbers of versions with which somebody did just what a write of ours, under way, was to do
    :param hidden: the numbers of versions that the service does not show in full
    :param race: the time between a look and what rests on it (a write, or the end of an attempt), within which an edit
        cannot be known
    :param granularity: by how much the clocks that are compared may differ
    :param in_flight: how long a write may be under way from its decision to its version
    :param prompt_within: by how much a raise may be later than it could be, outside of ``excused``; ``None`` does not
        judge that
    :param excused: the times in which nothing could be raised, or nobody was there to do it
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
        """The attempt with which a person began what this attempt belongs to."""
        return max((place for place in range(attempt + 1) if self.attempts[place].by_person), default=0)

    def attempts_of(self, run: int) -> list[Attempt]:
        """All attempts of what a person began with this one, in the order in which they began."""
        return [attempt for place, attempt in enumerate(self.attempts) if self.run_of(place) == run]

    def told(self) -> str:
        """All of it in the order of time, for whoever reads a violation."""
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
        """The attempts, by what a person began."""
        begun = [place for place in range(len(self.attempts)) if self.run_of(place) == place]
        return [[number for number in range(len(self.attempts)) if self.run_of(number) == place] for place in begun]


@dataclass(frozen=True)
class Stand:
    """Where a flag stands, as far as users can tell. What is archived or disabled reaches nobody.

    :param shows: what it shows as its percentage, where that is a fraction
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
        """The percentage for comparing with stages: a flag that is off stands before the first, even if that is 0."""
        return self.percentage if self.enabled and not self.archived else -1

    @property
    def set_to(self) -> tuple[float, bool]:
        """What of it a rollout writes: no fractions."""
        return self.percentage, self.enabled

    @property
    def shown_as(self) -> tuple[float, bool]:
        """The same as it shows."""
        return self.percentage if self.shows is None else self.shows, self.enabled

    def __str__(self) -> str:
        return f"{self.percentage:g} %{'' if self.enabled else ' (disabled)'}{' (archived)' if self.archived else ''}"


@dataclass(frozen=True)
class Entry:
    """A version. ``place`` is where it stands in the history, from 0 on."""

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
    """A version of ours, and what whoever wrote it knew.

    :param known: the newest version that it had seen
    :param unseen: what came between that and the write: it was written over
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
        """Whether it takes the feature from users: not so where somebody else had lowered it as far unseen."""
        before = self.unseen[-1] if self.unseen else self.known
        return self.entry.stand.exposure < min(self.known.stand.exposure, before.stand.exposure)


class History:
    """The versions, read."""

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
        """Since when it stands as in this version, without a break."""
        began = entry
        for earlier in reversed(self.entries[: entry.place]):
            if earlier.stand != entry.stand:
                break
            began = earlier
        return began.at

    def soaks_since(self, entry: Entry) -> datetime:
        """The same, or since the rollout itself made a whole percentage of a person's fraction, if that is later."""
        since = self.since(entry)
        whole = [
            later.at
            for earlier, later in pairwise(self.entries[: entry.place + 1])
            if later.is_ours and later.at > since and later.stand.shown_as != earlier.stand.shown_as
        ]
        return max(since, *whole) if whole else since

    def stand_at(self, moment: datetime) -> Entry:
        """The version that was there at a moment."""
        return [entry for entry in self.entries if entry.at <= moment or entry.place == 0][-1]

    def stand_at_the_end(self, place: int) -> Entry:
        """The version with which an attempt ended: not what somebody did within ``race``, after it had looked last."""
        last, ended = self.stand_at(self.observed.attempts[place].ended), self.observed.attempts[place].ended
        read = self.observed.last_read.get(place)
        while read is not None and not last.is_ours and last.number > read and last.at > ended - self.observed.race:
            last = self.entries[last.place - 1]
        return last

    def external_changes(self) -> Iterator[tuple[Entry, Entry]]:
        """Each version that stands elsewhere for users than the one before it, after that one.

        An archived flag is as good as a disabled one: who archives or restores what is disabled has moved nothing.
        """
        for before, after in zip(self.entries, self.entries[1:], strict=False):
            if (before.stand.percentage, before.stand.reached) != (after.stand.percentage, after.stand.reached):
                yield before, after

    def shows(self, after: Entry) -> bool:
        """Whether the history, as far as the service shows it, says that this version moved the flag.

        A version that comes back to what the last shown one said has moved nothing that anybody could read.
        """
        shown = [entry for entry in self.entries[: after.place] if entry.number not in self.observed.hidden]
        return after.number not in self.observed.hidden and (not shown or shown[-1].stand != after.stand)

    def could_be_a_step(self, after: Entry) -> bool:
        """Whether another task with the same key made just the step that an attempt of the rollout would have made.

        The next stage, after the full soak of the one before, in the window and while nobody held it.
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
        """The last version that moved the flag without its being seen, and that was written over by this change."""
        before, moved = change.known, None
        for entry in change.unseen:
            if (entry.stand, entry.stand.shown_as) != (before.stand, before.stand.shown_as):
                moved = entry
            before = entry
        if moved is None or (moved.stand, moved.stand.shown_as) == (change.entry.stand, change.entry.stand.shown_as):
            return None
        return moved

    def puts_back(self, change: Change) -> bool:
        """Whether it restores what the same run had written over; as much of it as nobody changed meanwhile.

        So does the same write once more, repeated since its answer was lost; and so does the lower percentage of
        another task with the same key, which then set the same as the run again: nothing tells whose version is last.
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
        shown = change.entry.stand.shown_as  # with the fraction that a write of other fields leaves
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
        """The lower version after this change that another task with the same key made, and left for the same again."""
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
