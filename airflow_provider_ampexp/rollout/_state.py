"""The state of a rollout: what one run knows that the flag itself does not show.

A rollout is safe without it: after a crash, a retry reads the flag and its history, and begins with an empty state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from airflow_provider_ampexp.rollout._analysis import GuardrailStatus, aggregate
from airflow_provider_ampexp.rollout._approval import ApprovalResponse
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, version_of_exposure
from airflow_provider_ampexp.rollout._own_steps import OwnSteps, before_the_rollout
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._preview import PreviewResult
from airflow_provider_ampexp.rollout._record import (
    RecordLine,
    bounded,
    digest_of,
    exposure_fields,
    fields_before,
    line_of,
)
from airflow_provider_ampexp.rollout._vocabulary import GuardrailDecision, RecordKind


@dataclass(frozen=True)
class RolloutState:
    """What one attempt knows from one observation of the flag to the next.

    Each field is ``None`` or empty until it is known.

    :param run_began: when this run, or its last clear by a person, began, on the service's clock. The rules judge
        each change since then: an own step, or a change of another actor. ``None`` on a first attempt.
    :param is_retry: Airflow made this attempt after an earlier one failed or died
    :param start: the exposure before this run raised it
    :param origin: the exposure before this rollout, which may be older than the run; ``None`` also if the history does
        not show it
    :param last_exposure: the exposure at the last observation or write of this attempt
    :param version: the newest version then
    :param wrote_last: this attempt itself set that exposure
    :param actor: the name that the service gives to changes of this rollout
    :param first_seen_at: when the present exposure was first observed, for a history that does not show its start
    :param statuses: the results of the guardrails at this stage
    :param checked_at: when the guardrails ran last
    :param held_since: when the guardrails began to hold the rollout at this stage
    :param rollback_reason: why an earlier attempt decided to roll back; it died before the rollback was complete
    :param asked_at: when an approval was requested
    :param response: the answer to that request
    :param record: the record so far
    :param accepted_version: the newest version whose audience an observation accepted
    :param audience: the digest of that audience, for a history that does not show it
    :param owed_soak: the soak of the present exposure in seconds, by the plan when the exposure was set. A later edit
        of the plan does not shorten it.
    :param owed_check: the guardrails must run before the present exposure is left, by the plan of that time
    :param plan: the plan at the last observation, to find later edits
    :param preflight_owed: the preflight must run before the first raise
    :param listed: the digest of the audience that the trigger read last, which reads the flag in another way
    :param alerted: the alerts that this attempt has sent, over a wait
    :param preview: the preview of the next raise from the present exposure
    """

    run_began: datetime | None = None
    is_retry: bool = False
    start: Exposure | None = None
    last_exposure: Exposure | None = None
    version: int | None = None
    wrote_last: bool = False
    actor: str | None = None
    first_seen_at: datetime | None = None
    statuses: tuple[GuardrailStatus, ...] = ()
    checked_at: datetime | None = None
    held_since: datetime | None = None
    rollback_reason: str | None = None
    asked_at: datetime | None = None
    response: ApprovalResponse | None = None
    record: tuple[RecordLine, ...] = ()
    origin: Exposure | None = None
    accepted_version: int | None = None
    preflight_owed: bool = False
    audience: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, str] = field(default_factory=dict)
    owed_soak: float | None = None
    owed_check: bool = False
    plan: Mapping[str, Any] = field(default_factory=dict)
    alerted: tuple[str, ...] = ()
    preview: PreviewResult | None = None

    def after_observation(self, plan: RolloutPlan, seen: FlagSnapshot, now: datetime) -> RolloutState:
        """Return the state after an observation."""
        fresh = self if self.last_exposure == seen.exposure else self._at_another_exposure()
        return replace(
            fresh,
            start=self.start or start_of_run(plan, seen, self.run_began),
            origin=self.origin or self.start or origin_of(plan, seen, self.run_began),
            last_exposure=seen.exposure,
            version=seen.newest_version,
            accepted_version=seen.newest_version,
            audience=seen.audience.digest(),
            actor=self.actor or self._actor_of(plan, seen),
            first_seen_at=fresh.first_seen_at or now,
            owed_soak=max(fresh.owed_soak or 0.0, self._soak_of(plan, seen)),
            owed_check=fresh.owed_check or (plan.checked and (_is_stage(plan, seen) or _is_between_stages(plan, seen))),
            plan=plan.as_json(),
        )

    def _soak_of(self, plan: RolloutPlan, seen: FlagSnapshot) -> float:
        """Return the soak of the observed exposure in seconds, by the plan."""
        stage = plan.stage_at(seen.exposure.reached)
        if stage is not None:  # another task waits for the soak of its own stage
            return stage.soak.total_seconds() if stage in plan.own_stages else 0.0
        if not _is_between_stages(plan, seen):
            return 0.0
        reached = seen.exposure.reached
        neighbours = (plan.highest_below(reached), plan.next_above(reached))
        return max(near.soak.total_seconds() for near in neighbours if near is not None)

    def after_set_stage(
        self, before: Exposure, since: datetime, after: Exposure, seen: FlagSnapshot, now: datetime
    ) -> RolloutState:
        """Return the state after this attempt has set a stage and read it back.

        :param since: since when the flag was at ``before``
        :param seen: the flag as it was read back. Another actor may have changed it after the write: the next decision
            judges that.
        """
        new = (entry for entry in reversed(seen.history) if entry.version > (self.version or 0))
        made = next((entry for entry in new if entry.exposure == after), None)
        version = made.version if made else seen.newest_version
        moved = replace(
            self._at_another_exposure(), last_exposure=after, version=version, wrote_last=True, first_seen_at=now
        )
        # After this write the service may show more of the audience than before.
        moved = replace(moved, audience={})
        line: RecordLine = {**fields_before(before, since), "to": after.percentage, **exposure_fields(after, made)}
        return moved.with_line(RecordKind.RAISE, now, line)

    def after_checks(self, statuses: Iterable[GuardrailStatus], now: datetime) -> RolloutState:
        """Return the state after the guardrails ran."""
        statuses = tuple(statuses)
        state = replace(self, statuses=statuses, checked_at=now, held_since=self._held_since(statuses, now))
        at = self.last_exposure.percentage if self.last_exposure else None
        for status in statuses:
            verdict = status.verdict.value if status.verdict else None
            line: RecordLine = {"stage": at, "name": status.name, "verdict": verdict, "value": status.value}
            if status.interval is not None:
                low, high, worse, at_most_worse = status.interval
                line = {**line, "low": low, "high": high, "worse": worse, "at_most_worse": at_most_worse}
            state = state.with_line(RecordKind.CHECK, now, {**line, "why": status.why})
        return state

    def _held_since(self, statuses: Iterable[GuardrailStatus], now: datetime) -> datetime | None:
        """Return since when the guardrails hold the rollout. An inconclusive result does not end a hold."""
        decision, _ = aggregate(statuses)
        if decision == GuardrailDecision.GO:
            return None
        return self.held_since or (now if decision == GuardrailDecision.HOLD else None)

    def with_line(self, kind: RecordKind, at: datetime, more: RecordLine) -> RolloutState:
        """Return the state with one more line in the record.

        :param more: the fields of the line. The plan's digest, the newest version and the exposure are added.
        """
        line: RecordLine = {}
        if self.plan:
            line["plan"] = digest_of(self.plan)
        if self.version is not None:
            line["version"] = self.version
        if self.last_exposure is not None:
            line["percentage"], line["enabled"] = self.last_exposure.percentage, self.last_exposure.enabled
        return self.with_lines((line_of(kind, at, {**line, **more}),))

    def with_lines(self, lines: Iterable[RecordLine]) -> RolloutState:
        """Return the state with more lines in the record. A record that is too long loses checks that repeat others."""
        return replace(self, record=bounded((*self.record, *lines)))

    def with_listed(self, digest: Mapping[str, str] | None) -> RolloutState:
        """Return the state with the audience that a trigger read; the same state if the trigger read no other one."""
        return replace(self, listed=digest) if digest else self

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, for a deferral. The keys are those of 0.1.0, which also a later version must read."""
        return {
            "run_began": self.run_began.isoformat() if self.run_began else None,
            "is_retry": self.is_retry,
            "start": [self.start.percentage, self.start.enabled] if self.start else None,
            "origin": [self.origin.percentage, self.origin.enabled] if self.origin else None,
            "left_at": [self.last_exposure.percentage, self.last_exposure.enabled] if self.last_exposure else None,
            "version": self.version,
            "accepted": self.accepted_version,
            "audience": dict(self.audience),
            "listed": dict(self.listed),
            "wrote": self.wrote_last,
            "hand": self.actor,
            "preflight_owed": self.preflight_owed,
            "seen_first": self.first_seen_at.isoformat() if self.first_seen_at else None,
            "streaks": [status.as_json() for status in self.statuses],
            "held_since": self.held_since.isoformat() if self.held_since else None,
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
            "failed": self.rollback_reason,
            "asked_at": self.asked_at.isoformat() if self.asked_at else None,
            "record": list(self.record),
            "owed_soak": self.owed_soak,
            "owed_check": self.owed_check,
            "plan": dict(self.plan),
            "alerted": list(self.alerted),
            "preview": asdict(self.preview) if self.preview else None,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> RolloutState:
        """Read what :meth:`as_json` wrote, in this version or another one.

        A missing key counts as not known, which is always safe: the flag and its history show the rest.
        """
        return cls(
            run_began=_moment(plain.get("run_began")),
            is_retry=bool(plain.get("is_retry")),
            start=_exposure(plain.get("start")),
            origin=_exposure(plain.get("origin")),
            last_exposure=_exposure(plain.get("left_at")),
            version=plain.get("version"),
            accepted_version=plain.get("accepted", plain.get("version")),
            audience=plain.get("audience") or {},
            listed=plain.get("listed") or {},
            wrote_last=bool(plain.get("wrote")),
            actor=plain.get("hand"),
            preflight_owed=bool(plain.get("preflight_owed")),
            first_seen_at=_moment(plain.get("seen_first")),
            statuses=tuple(GuardrailStatus.from_json(status) for status in plain.get("streaks") or ()),
            checked_at=_moment(plain.get("checked_at")),
            held_since=_moment(plain.get("held_since")),
            rollback_reason=plain.get("failed"),
            asked_at=_moment(plain.get("asked_at")),
            record=tuple(plain.get("record") or ()),
            owed_soak=plain.get("owed_soak"),
            owed_check=bool(plain.get("owed_check")),
            plan=plain.get("plan") or {},
            alerted=tuple(plain.get("alerted") or ()),
            preview=_preview(plain.get("preview")),
        )

    def _at_another_exposure(self) -> RolloutState:
        """Return the state without what is about the exposure that the flag had before."""
        return replace(
            self,
            last_exposure=None,
            version=None,
            wrote_last=False,
            first_seen_at=None,
            statuses=(),
            checked_at=None,
            held_since=None,
            owed_soak=None,
            owed_check=False,
            preview=None,
        )

    def _actor_of(self, plan: RolloutPlan, seen: FlagSnapshot) -> str | None:
        """Return the actor of the stage that this attempt set, or of this run's first own step."""
        if self.wrote_last and self.last_exposure == seen.exposure:
            # Another actor may have left the stage since and set it again. So the version of the write comes first.
            own = (entry for entry in seen.history if entry.version == self.version)
            set_by = next((entry for entry in own if entry.exposure == seen.exposure), version_of_exposure(seen))
            return set_by.by if set_by else None
        first = OwnSteps(plan, seen.history).first(self.run_began)
        return first.entry.by if first else None


def _is_stage(plan: RolloutPlan, seen: FlagSnapshot) -> bool:
    return plan.stage_at(seen.exposure.reached) is not None


def _is_between_stages(plan: RolloutPlan, seen: FlagSnapshot) -> bool:
    """Whether users get the feature at a percentage between two stages, which this plan did not set.

    A person or an earlier plan set it. It soaks as long as the longer of its neighbours, and is checked like a stage.
    """
    reached = seen.exposure.reached
    is_between = plan.highest_below(reached) is not None and plan.next_above(reached) is not None
    return reached > 0 and is_between and not _is_stage(plan, seen)


def start_of_run(plan: RolloutPlan, seen: FlagSnapshot, run_began: datetime | None) -> Exposure:
    """Return the exposure before this run first raised it."""
    first = OwnSteps(plan, seen.history).first(run_began)
    return first.before if first else seen.exposure


def origin_of(plan: RolloutPlan, seen: FlagSnapshot, run_began: datetime | None) -> Exposure | None:
    """Return the exposure before this rollout first raised it, in this run or before, if the history shows it."""
    first = OwnSteps(plan, seen.history).first(run_began)
    if first is None:
        return before_the_rollout(plan, seen)
    until = tuple(entry for entry in seen.history if entry.version <= first.entry.version)
    return before_the_rollout(plan, FlagSnapshot(first.after, history=until))


def _exposure(plain: Sequence[Any] | None) -> Exposure | None:
    return Exposure(plain[0], plain[1]) if plain else None


def _preview(plain: Mapping[str, Any] | None) -> PreviewResult | None:
    return PreviewResult(plain["percentage"], plain["text"], plain["refusal"]) if plain else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
