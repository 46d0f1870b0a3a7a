"""The conditions by which the rules of a rollout decide. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.rollout._analysis import aggregate
from airflow_provider_ampexp.rollout._audience import changed_fields
from airflow_provider_ampexp.rollout._history import (
    ExposureChange,
    FlagSnapshot,
    audience_changes,
    exposure_changes,
    version_of_exposure,
)
from airflow_provider_ampexp.rollout._own_steps import OwnSteps
from airflow_provider_ampexp.rollout._plan import RolloutPlan
from airflow_provider_ampexp.rollout._rollback_target import RollbackTarget
from airflow_provider_ampexp.rollout._stages import ResolvedStage
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import GuardrailDecision


class Evaluation:
    """A plan, a flag as it was just observed, and the state, at one time of the service's clock.

    ``last_state`` is the state before this observation, ``state`` the state after it.
    """

    def __init__(
        self, plan: RolloutPlan, seen: FlagSnapshot, state: RolloutState, now: datetime, finished: Collection[int] = ()
    ) -> None:
        self.plan = plan
        self.seen = seen
        self.now = now
        self.last_state = state
        self.state = state.after_observation(plan, seen, now)
        self.is_first_look = state.last_exposure is None
        self.decision, self.said = aggregate(self.state.statuses)
        self.own_steps = OwnSteps(plan, seen.history, finished)
        self.first_own_step = self.own_steps.first(self.state.run_began)

    # the present exposure

    @property
    def percentage(self) -> float:
        """The percentage to compare with stages. A disabled flag is before the first stage, at any percentage."""
        return self.seen.exposure.reached

    @property
    def stage(self) -> ResolvedStage | None:
        """The stage of the present percentage."""
        return self.plan.stage_at(self.percentage)

    @property
    def is_own_stage(self) -> bool:
        """Whether this task carries out the present stage."""
        return self.stage in self.plan.own_stages

    @property
    def next_stage(self) -> ResolvedStage | None:
        """The next stage of this task."""
        return next((stage for stage in self.plan.own_stages if stage.percentage > self.percentage), None)

    @property
    def began(self) -> datetime:
        """The start of the present exposure; if the history does not show it, the first observation."""
        entry = version_of_exposure(self.seen)
        return (entry.at if entry else None) or self.state.first_seen_at or self.now

    @property
    def stage_before(self) -> ResolvedStage | None:
        """The stage before the next one. In a group, another task sets it."""
        return self.plan.highest_below(self.next_stage.percentage) if self.next_stage else None

    # the soak

    @property
    def soak(self) -> timedelta:
        """The soak of the present exposure, by the plan when the exposure was set."""
        return timedelta(seconds=self.state.owed_soak or 0)

    @property
    def soak_ends(self) -> datetime:
        return self.began + self.soak

    @property
    def is_soaking(self) -> bool:
        return bool(self.soak) and self.now < self.soak_ends

    # the guardrails

    @property
    def is_checked(self) -> bool:
        """Whether guardrails run at the present exposure. Before the first stage there is nothing to measure.

        Directly after the last raise there is nothing to measure either, unless another attempt may have made it: see
        :attr:`is_checked_first`. The last stage is checked if it soaks.
        """
        is_done = self.next_stage is None and self.plan.approval is None
        if (self.stage is None and not self.state.owed_check) or (is_done and not self.is_own_stage):
            return False
        if self.ends_without_soak and is_done and self.state.checked_at is None:
            return False
        return self.plan.checked

    @property
    def is_checked_first(self) -> bool:
        """Whether the guardrails must run now, because this attempt does not know the results of another attempt.

        A retry takes over from an attempt that may have died between a failed check and its rollback. A step that
        another attempt of the task may have made counts only after a check.
        """
        if not self.plan.checked or self.stage is None or self.state.checked_at is not None:
            return False
        if self.is_first_look:
            is_last = self.ends_without_soak and self.is_own_stage and self.first_own_step is not None
            return self.state.is_retry and (self.is_checked or is_last)
        return self.is_own_stage and bool(self._since_last_look) and not self.external_changes

    @property
    def ends_without_soak(self) -> bool:
        return self.stage == self.plan.all_stages[-1] and not self.soak

    @property
    def check_is_due(self) -> datetime:
        """When the guardrails must run next."""
        last = self.state.checked_at
        if last is None or (self.decision == GuardrailDecision.GO and not self.ran_after_the_soak):
            every = self.plan.check_interval
            return self.soak_ends if every is None else min((last or self.began) + every, self.soak_ends)
        again = last + self.plan.recheck
        # At the end of a hold, the guardrails run once more.
        return min(again, self.hold_ends) if self.hold_ends is not None and last < self.hold_ends else again

    @property
    def hold_ends(self) -> datetime | None:
        """When the time limit of the present hold is over; ``None`` without a hold or a limit."""
        since, limit = self.state.held_since, self.plan.hold_limit
        return None if since is None or limit is None else since + limit

    @property
    def is_held_too_long(self) -> bool:
        """Whether a check after the time limit still holds the rollout."""
        asked = self.state.checked_at
        return asked is not None and self.hold_ends is not None and self.hold_ends <= asked

    @property
    def guardrails_passed(self) -> bool:
        """Whether the last check passed, after the whole soak and not too long ago."""
        if not self.is_checked:
            return True
        if self.state.checked_at is None or self.decision != GuardrailDecision.GO:
            return False
        return self.ran_after_the_soak and self.now < self.check_is_due

    @property
    def ran_after_the_soak(self) -> bool:
        """Whether each guardrail ran after the soak. A slow check can start before the end of the soak."""
        return all(status.at is not None and self.soak_ends <= status.at for status in self.state.statuses)

    # the approval

    @property
    def is_answered(self) -> bool:
        return self.plan.approval is None or self.state.response is not None

    @property
    def answer_is_due(self) -> datetime | None:
        """When the time limit of the approval is over; ``None`` without a limit or a request."""
        approval, asked_at = self.plan.approval, self.state.asked_at
        if approval is None or approval.timeout is None or asked_at is None:
            return None
        return asked_at + approval.timeout

    # external changes

    @property
    def is_held(self) -> bool:
        """Whether a person holds the rollout with the tag."""
        return has_tag(self.seen.tags, self.plan.hold_tag)

    @property
    def has_external_change(self) -> bool:
        """Whether another actor changed the exposure since the last observation, also if the actor changed it back."""
        if self.is_first_look:
            return False
        is_explained = bool(self._since_last_look) and self._since_last_look[-1].after == self.seen.exposure
        return bool(self.external_changes) or (self.seen.exposure != self.last_state.last_exposure and not is_explained)

    @property
    def external_changes(self) -> list[ExposureChange]:
        """The changes of other actors since the last observation, oldest first, as far as the history shows them."""
        return [change for change in self._since_last_look if not self._is_concurrent_attempt(change)]

    @property
    def _since_last_look(self) -> list[ExposureChange]:
        version = self.last_state.version
        return [
            change
            for change in exposure_changes(self.seen.history)
            if version is not None and change.entry.version > version
        ]

    def _is_concurrent_attempt(self, change: ExposureChange) -> bool:
        """Whether a concurrent attempt of this task may have made a change. It may live on after a crash.

        Not if the guardrails demanded to wait, to hold or to roll back at the stage before. Not if it is a second step
        in a row: at the stage between the two, this attempt has run no guardrails.
        """
        if change.entry.by != self.last_state.actor or not self.own_steps.could_make(change):
            return False
        if not self.plan.checked:
            return True
        decision, _ = aggregate(self.last_state.statuses)
        return decision == GuardrailDecision.GO and change == self._since_last_look[0]

    def is_own_or_earlier(self, change: ExposureChange) -> bool:
        """Whether a change since the run began may be its own step, or came before its first own step."""
        first = self.first_own_step
        if first is None:
            return False
        is_own = change.entry.by == first.entry.by and self.own_steps.could_make(change)
        return is_own or change.entry.version < first.entry.version

    def shares_the_key(self, change: ExposureChange) -> bool:
        """Whether the actor of a change has the name of this rollout's key."""
        actor = self.last_state.actor or (self.first_own_step.entry.by if self.first_own_step else None)
        return change.entry.by == actor

    @property
    def overwritten_edit(self) -> tuple[ExposureChange, ExposureChange] | None:
        """A person's lower percentage that this run's newest raise overwrote, and that raise; ``None`` without one.

        A rollout that has read the lower percentage sets the next stage above it. This raise set a higher stage, so the
        rollout had not read it. The raise is this run's for certain only if the run has raised before.
        """
        *_, external, own = (None, None, *exposure_changes(self.seen.history, self.state.run_began))
        if external is None or own is None or own.after != self.seen.exposure or not external.lowers:
            return None
        first = self.first_own_step
        if not own.raises or self.stage is None or (first is not None and first.entry.by != own.entry.by):
            return None
        stage = self.plan.next_above(external.after.reached)
        is_unaware = stage is not None and stage.percentage < own.after.percentage
        return (
            (external, own)
            if is_unaware and external.after.effective_percentage < own.after.effective_percentage
            else None
        )

    # the audience

    @property
    def audience_drift(self) -> list[str]:
        """Each change of the audience since the accepted version: the field, the actor and the time."""
        accepted = self._accepted
        if accepted is None:
            return []
        return [change for change, _ in audience_changes(self.seen.history, accepted)] or self._unexplained_drift

    @property
    def _accepted(self) -> int | None:
        """The newest accepted version; at the first observation, the last version before this run's first raise.

        ``None`` if this run has raised nothing: it accepts the present audience.
        """
        if not self.is_first_look:
            return self.last_state.accepted_version
        first = self.first_own_step
        return first.entry.version - 1 if first else None

    @property
    def _unexplained_drift(self) -> list[str]:
        """The fields that differ from the last observation, and that the newest version does not show."""
        newest = self.seen.history[0].audience.shown if self.seen.history else {}
        changed = changed_fields(self.last_state.audience, self.seen.audience.digest())
        return [
            f"{name} was changed, and the version history does not show by whom"
            for name in changed
            if name not in newest
        ]

    @property
    def is_sticky(self) -> bool:
        """Whether sticky bucketing is on, and would keep users in after a rollback."""
        return self.seen.audience.is_sticky and self.plan.rollback not in ("off", "hold")

    # the rollback

    @property
    def rollback(self) -> RollbackTarget:
        """The target of a rollback now."""
        return RollbackTarget(self.plan, self.seen.exposure, self.last_state.last_exposure, self.state.origin)
