"""Test that the invariants find bugs: for each invariant a rule is broken, and a history must show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from airflow_provider_ampexp.operators._rollout import reconciling
from airflow_provider_ampexp.reconcile import _flag as flag
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import _decision as decision
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._audience import AudienceFields
from airflow_provider_ampexp.rollout._evaluation import Evaluation
from airflow_provider_ampexp.rollout._own_steps import OwnSteps
from tests.invariants import INVARIANTS, violations
from tests.proof.histories import stories
from tests.proof.story import Story
from tests.proof.telling import tell
from tests.proof.telltales import TELLTALES
from tests.proof.test_proof import DEEP

Patch = pytest.MonkeyPatch


class Found(Exception):
    """A violation of the expected invariant."""


def _without(*rules: str) -> Callable[[Patch], None]:
    def mutate(patch: Patch) -> None:
        left = tuple(rule for rule in decision._RULES if rule.__name__ not in rules)
        assert len(left) == len(decision._RULES) - len(rules), rules
        patch.setattr(decision, "_RULES", left)

    return mutate


def _two_stages_at_once(patch: Patch) -> None:
    def next_stage(view: Evaluation) -> Any:
        above = [stage for stage in view.plan.own_stages if stage.percentage > view.percentage]
        return above[:2][-1] if above else None

    patch.setattr(Evaluation, "next_stage", property(next_stage))


def _soak_from_the_attempts_start(patch: Patch) -> None:
    patch.setattr(Evaluation, "began", property(lambda view: view.state.first_seen_at or view.now))


def _any_doubt_is_a_fail(patch: Patch) -> None:
    patch.setattr(
        GuardrailStatus, "decision", property(lambda streak: "go" if streak.verdict == "pass" else "roll back")
    )


def _any_raise_with_the_own_key_is_a_step(patch: Patch) -> None:
    patch.setattr(OwnSteps, "could_make", lambda steps, change: change.raises)


def _no_step_is_checked_first(patch: Patch) -> None:
    patch.setattr(Evaluation, "is_checked_first", property(lambda view: False))


def _rollback_without_a_write(patch: Patch) -> None:
    patch.setattr(ManagedFlag, "roll_back_to", lambda flag, exposure: None)


def _nothing_is_put_back(patch: Patch) -> None:
    patch.setattr(ManagedFlag, "_restore", lambda flag, lost, percentage: {})


def _a_retry_begins_from_the_first_stage(patch: Patch) -> None:
    """Let a retry set the first stage again, at any present percentage."""
    reconcile = reconciling.reconcile

    def again(plan: Any, flag: ManagedFlag, state: Any, port: Any) -> Any:
        if state.is_retry and state.last_exposure is None:
            flag._bring_to(flag._fields(plan.all_stages[0].percentage))
        return reconcile(plan, flag, state, port)

    patch.setattr(reconciling, "reconcile", again)


def _only_the_percentage_counts(patch: Patch) -> None:
    patch.setattr(AudienceFields, "ways_in", lambda audience, catch_all=None: [])


def _others_do_not_count(patch: Patch) -> None:
    patch.setattr(AudienceFields, "others", lambda audience, catch_all=None: [])


def _all_segments_alike(patch: Patch) -> None:
    def fields(config: Any, percentage: float, segment: str | None, catch_all: str | None = None) -> Any:
        if segment is None:
            return {"rolloutPercentage": int(percentage), "description": "by the rollout"}
        return {"targetSegments": [{**segment, "percentage": int(percentage)} for segment in config["targetSegments"]]}

    patch.setattr(flag, "percentage_fields", fields)


MUTATIONS: dict[str, Callable[[Patch], None]] = {
    "exposure_is_earned": _two_stages_at_once,
    "no_soak_is_cut_short": _without("_wait_while_soaking"),
    "no_soak_begins_anew": _soak_from_the_attempts_start,
    "lowered_only_by_a_rollback": _any_doubt_is_a_fail,
    "nothing_is_written_after_a_persons_edit": _without("abort_on_external_change"),
    "nothing_ends_well_after_an_external_change": _any_raise_with_the_own_key_is_a_step,
    "another_tasks_step_is_checked": _no_step_is_checked_first,
    "what_is_overwritten_is_put_back": _nothing_is_put_back,
    "a_fail_ends_at_the_rollback_target": _rollback_without_a_write,
    "a_completed_rollout_rests": _a_retry_begins_from_the_first_stage,
    "nothing_starts_again_after_a_rollback": _without("abort_on_unseen_change"),
    "nothing_is_raised_outside_the_window": _without("_wait_for_the_window"),
    "nothing_is_raised_while_held": _without("_wait_while_held"),
    "nothing_is_raised_for_another_audience": _without("abort_on_audience_drift"),
    "no_raise_lets_others_in": _others_do_not_count,
    "nothing_is_raised_that_cannot_be_lowered": _without("abort_when_sticky"),
    "confirmed_is_said_of_what_nobody_gets_otherwise": _only_the_percentage_counts,
    "nothing_else_is_changed": _all_segments_alike,
}


def _a_step_while_the_guardrails_pass(story: Story) -> Story:
    """Add another task that sets the last stage, which has no soak, when this stage is due."""
    last, _ = story.stages[-1]
    stages = (*story.stages[:-1], (last, 0.0))
    return replace(story, stages=stages, verdicts=((0.0, "pass"),), on_drift="stop", edits=story.edits[:1])


# Two broken rules show in only one of many thousand histories, so their search uses only histories of their kind.
NARROWED = {
    "another_tasks_step_is_checked": stories(("foreign",)).map(_a_step_while_the_guardrails_pass),
    "what_is_overwritten_is_put_back": stories(("racing",)),
}


def test_each_invariant_has_its_mutation() -> None:
    assert [invariant.__name__ for invariant in INVARIANTS] == list(MUTATIONS) == list(TELLTALES)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_seeded_violation_is_found(name: str, monkeypatch: Patch) -> None:
    """The telltales are explicit examples of the test of the invariants, so that test fails."""
    MUTATIONS[name](monkeypatch)
    found = violations(tell(TELLTALES[name]))
    assert any(violation.startswith(f"{name}:") for violation in found), found


@pytest.mark.skipif(not DEEP, reason="part of make test-deep")
@pytest.mark.parametrize("name", MUTATIONS)
def test_generated_histories_find_it_too(name: str, monkeypatch: Patch) -> None:
    @settings(
        max_examples=3 * int(DEEP or 0),  # the rarest violation is in one of 2,500 histories
        phases=[Phase.generate],  # no shrinking, because the history is not shown
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(NARROWED.get(name, stories()))
    def search(story: Story) -> None:
        if any(found.startswith(f"{name}:") for found in violations(tell(story))):
            raise Found

    MUTATIONS[name](monkeypatch)
    with pytest.raises(Found):
        search()
