"""What one run of a rollout knows that the flag itself does not show.

It is kept small and is never needed to be safe: after a crash it begins again from the flag and its history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from airflow_provider_ampexp.rollout._analysis import GuardrailStatus, aggregate
from airflow_provider_ampexp.rollout._approval import ApprovalResponse
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, since
from airflow_provider_ampexp.rollout._own_steps import OwnSteps, before_the_rollout
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._record import (
    RecordLine,
    What,
    bounded,
    digest_of,
    from_exposure,
    line_of,
    stands_at,
)


@dataclass(frozen=True)
class RolloutState:
    """What is remembered from one look to the next.

    :param run_began: when this run, or its last clearing by a person, began, on the service's clock; what the history
        tells since then must be this run's own doing. ``None`` where nothing was done yet: on a first attempt.
    :param is_retry: whether Airflow made this attempt by itself, after another one died
    :param start: where the flag stood before this run raised it; ``None`` until it was looked at
    :param origin: where the flag stood before this rollout, which may be older than the run; ``None`` until it was
        looked at, and where the history is too thin to tell
    :param left_at: where this attempt saw or left the flag last; ``None`` until it was looked at
    :param version: the newest version then; ``None`` until it was looked at
    :param wrote: whether this attempt itself brought it there
    :param hand: by which name the service knows this rollout's changes; ``None`` until one was seen
    :param seen_first: when the present position was seen first, for a history too thin to tell since when it holds
    :param streaks: what the guardrails said at this stage
    :param checked_at: when they were asked last
    :param held_since: when they began to hold the rollout at this stage; ``None`` while they do not
    :param failed: why it is to be rolled back, as an attempt decided that died before it was done; ``None`` if none did
    :param asked_at: when somebody was asked for an approval
    :param response: what they answered
    :param record: what was done and measured so far, for an audit
    :param accepted: the newest version whose audience a look accepted; ``None`` until there was a look
    :param audience: the digest of that audience, for a history that does not show it
    :param owed_soak: for how many seconds the present position has to soak, as the plan said when it was entered. A
        plan that is edited meanwhile shortens nothing. ``None`` until it was looked at.
    :param owed_check: whether the guardrails have to be asked before the present position is left, as remembered then
    :param plan: the plan as it was when it was looked at last, to tell when somebody edited it
    :param preflight_owed: whether the guardrails are still to be asked if they can answer, before the first raise
    :param listed: the digest of the audience as the trigger saw it last, which reads the flag in another way
    :param alerted: which alerts this attempt has sent, over a wait
    """

    run_began: datetime | None = None
    is_retry: bool = False
    start: Exposure | None = None
    left_at: Exposure | None = None
    version: int | None = None
    wrote: bool = False
    hand: str | None = None
    seen_first: datetime | None = None
    streaks: tuple[GuardrailStatus, ...] = ()
    checked_at: datetime | None = None
    held_since: datetime | None = None
    failed: str | None = None
    asked_at: datetime | None = None
    response: ApprovalResponse | None = None
    record: tuple[RecordLine, ...] = ()
    origin: Exposure | None = None
    accepted: int | None = None
    preflight_owed: bool = False
    audience: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, str] = field(default_factory=dict)
    owed_soak: float | None = None
    owed_check: bool = False
    plan: Mapping[str, Any] = field(default_factory=dict)
    alerted: tuple[str, ...] = ()

    def looked(self, plan: RolloutPlan, seen: FlagSnapshot, now: datetime) -> RolloutState:
        """What is remembered after a look that found nothing against going on."""
        fresh = self if self.left_at == seen.position else self._at_another_position()
        return replace(
            fresh,
            start=self.start or start_of_run(plan, seen, self.run_began),
            origin=self.origin or self.start or origin_of(plan, seen, self.run_began),
            left_at=seen.position,
            version=seen.newest_version,
            accepted=seen.newest_version,
            audience=seen.audience.digest(),
            hand=self.hand or self._hand_of(plan, seen),
            seen_first=fresh.seen_first or now,
            owed_soak=max(fresh.owed_soak or 0.0, self._soak_of(plan, seen)),
            owed_check=fresh.owed_check or (plan.checked and (_is_stage(plan, seen) or _is_between_stages(plan, seen))),
            plan=plan.as_json(),
        )

    def _soak_of(self, plan: RolloutPlan, seen: FlagSnapshot) -> float:
        """For how many seconds the plan lets a flag soak where it stands."""
        stage = plan.stage_at(seen.position.reached)
        if stage is not None:  # what another task's stage soaks is that task's to see to
            return stage.soak.total_seconds() if stage in plan.own_stages else 0.0
        if not _is_between_stages(plan, seen):
            return 0.0
        reached = seen.position.reached
        neighbours = (plan.highest_below(reached), plan.next_above(reached))
        return max(near.soak.total_seconds() for near in neighbours if near is not None)

    def raised(
        self, before: Exposure, since: datetime, after: Exposure, seen: FlagSnapshot, now: datetime
    ) -> RolloutState:
        """What is remembered after this attempt has set a stage, and has read it back.

        :param since: since when it had stood at ``before``
        :param seen: what it read then. Somebody may have moved the flag after the write: that is still to be judged.
        """
        new = (one for one in reversed(seen.history) if one.version > (self.version or 0))
        made = next((one for one in new if one.position == after), None)
        version = made.version if made else seen.newest_version
        moved = replace(self._at_another_position(), left_at=after, version=version, wrote=True, seen_first=now)
        # Our own write may have made the service show more of the audience than before.
        moved = replace(moved, audience={})
        line: RecordLine = {**from_exposure(before, since), "to": after.percentage, **stands_at(after, made)}
        return moved.recorded("raise", now, line)

    def judged(self, streaks: Iterable[GuardrailStatus], now: datetime) -> RolloutState:
        """What is remembered after the guardrails have answered."""
        told = tuple(streaks)
        memory = replace(self, streaks=told, checked_at=now, held_since=self._held_since(told, now))
        at = self.left_at.percentage if self.left_at else None
        for one in told:
            memory = memory.recorded(
                "check",
                now,
                {"stage": at, "name": one.name, "verdict": one.verdict, "value": one.value, "why": one.why},
            )
        return memory

    def _held_since(self, streaks: Iterable[GuardrailStatus], now: datetime) -> datetime | None:
        """A hold lasts until they let the rollout go on: an answer that cannot tell does not end it."""
        acts, _ = aggregate(streaks)
        if acts == "go":
            return None
        return self.held_since or (now if acts == "hold" else None)

    def recorded(self, what: What, at: datetime, more: RecordLine) -> RolloutState:
        """The same with one more line in the record. The oldest checks are given up when it grows too long.

        :param more: what there is to say. The plan's digest, the newest version and where the flag stands are added.
        """
        line: RecordLine = {}
        if self.plan:
            line["plan"] = digest_of(self.plan)
        if self.version is not None:
            line["version"] = self.version
        if self.left_at is not None:
            line["percentage"], line["enabled"] = self.left_at.percentage, self.left_at.enabled
        return self.with_lines((line_of(what, at, {**line, **more}),))

    def with_lines(self, lines: Iterable[RecordLine]) -> RolloutState:
        """The same with more lines in the record."""
        return replace(self, record=bounded((*self.record, *lines)))

    def with_listed(self, digest: Mapping[str, str] | None) -> RolloutState:
        """The same with the audience as a trigger saw it; unchanged where it did not see another one."""
        return replace(self, listed=digest) if digest else self

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a deferral."""
        return {
            "run_began": self.run_began.isoformat() if self.run_began else None,
            "is_retry": self.is_retry,
            "start": [self.start.percentage, self.start.enabled] if self.start else None,
            "origin": [self.origin.percentage, self.origin.enabled] if self.origin else None,
            "left_at": [self.left_at.percentage, self.left_at.enabled] if self.left_at else None,
            "version": self.version,
            "accepted": self.accepted,
            "audience": dict(self.audience),
            "listed": dict(self.listed),
            "wrote": self.wrote,
            "hand": self.hand,
            "preflight_owed": self.preflight_owed,
            "seen_first": self.seen_first.isoformat() if self.seen_first else None,
            "streaks": [one.as_json() for one in self.streaks],
            "held_since": self.held_since.isoformat() if self.held_since else None,
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
            "failed": self.failed,
            "asked_at": self.asked_at.isoformat() if self.asked_at else None,
            "record": list(self.record),
            "owed_soak": self.owed_soak,
            "owed_check": self.owed_check,
            "plan": dict(self.plan),
            "alerted": list(self.alerted),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> RolloutState:
        """Read what :meth:`as_json` wrote, in this version or another one.

        A key that is missing counts as not known, which is always safe: the flag and its history tell the rest.
        """
        return cls(
            run_began=_moment(told.get("run_began")),
            is_retry=bool(told.get("is_retry")),
            start=_position(told.get("start")),
            origin=_position(told.get("origin")),
            left_at=_position(told.get("left_at")),
            version=told.get("version"),
            accepted=told.get("accepted", told.get("version")),
            audience=told.get("audience") or {},
            listed=told.get("listed") or {},
            wrote=bool(told.get("wrote")),
            hand=told.get("hand"),
            preflight_owed=bool(told.get("preflight_owed")),
            seen_first=_moment(told.get("seen_first")),
            streaks=tuple(GuardrailStatus.from_json(streak) for streak in told.get("streaks") or ()),
            checked_at=_moment(told.get("checked_at")),
            held_since=_moment(told.get("held_since")),
            failed=told.get("failed"),
            asked_at=_moment(told.get("asked_at")),
            record=tuple(told.get("record") or ()),
            owed_soak=told.get("owed_soak"),
            owed_check=bool(told.get("owed_check")),
            plan=told.get("plan") or {},
            alerted=tuple(told.get("alerted") or ()),
        )

    def _at_another_position(self) -> RolloutState:
        """What outlives a change of position: not what was said about the one before."""
        return replace(
            self,
            left_at=None,
            version=None,
            wrote=False,
            seen_first=None,
            streaks=(),
            checked_at=None,
            held_since=None,
            owed_soak=None,
            owed_check=False,
        )

    def _hand_of(self, plan: RolloutPlan, seen: FlagSnapshot) -> str | None:
        """The actor of the stage that this attempt knows it set, or made this run's first planned raise."""
        if self.wrote and self.left_at == seen.position:
            set_by = since(seen)
            return set_by.by if set_by else None
        first = OwnSteps(plan, seen.history).first(self.run_began)
        return first.entry.by if first else None


def _is_stage(plan: RolloutPlan, seen: FlagSnapshot) -> bool:
    return plan.stage_at(seen.position.reached) is not None


def _is_between_stages(plan: RolloutPlan, seen: FlagSnapshot) -> bool:
    """Whether users get the feature at a percentage between two stages, which this plan did not set.

    A person set it, or an earlier plan did. Nothing earned it yet: it soaks as long as the longer of its neighbours,
    and is checked like a stage.
    """
    reached = seen.position.reached
    is_between = plan.highest_below(reached) is not None and plan.next_above(reached) is not None
    return reached > 0 and is_between and not _is_stage(plan, seen)


def start_of_run(plan: RolloutPlan, seen: FlagSnapshot, run_began: datetime | None) -> Exposure:
    """Where the flag stood before this run raised it first."""
    first = OwnSteps(plan, seen.history).first(run_began)
    return first.before if first else seen.position


def origin_of(plan: RolloutPlan, seen: FlagSnapshot, run_began: datetime | None) -> Exposure | None:
    """Where the flag stood before this rollout raised it first, in this run or before it, as the history tells."""
    first = OwnSteps(plan, seen.history).first(run_began)
    if first is None:
        return before_the_rollout(plan, seen)
    until = tuple(entry for entry in seen.history if entry.version <= first.entry.version)
    return before_the_rollout(plan, FlagSnapshot(first.after, history=until))


def _position(told: Sequence[Any] | None) -> Exposure | None:
    return Exposure(told[0], told[1]) if told else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
