"""Stories in which a broken rule shows: for each invariant one that does not hold if its rule is broken."""

from __future__ import annotations

from airflow_provider_ampexp.rollout import ChangeWindow
from tests.proof.story import Crash, Edit, Story

_HOUR = 3600.0
_TWO_STAGES = ((1, _HOUR), (5, 0.0))

TELLTALES: dict[str, Story] = {
    "exposure_is_earned": Story(),
    "no_soak_is_cut_short": Story(),
    "no_soak_begins_anew": Story(deferrable=False, crashes={("step", 9): Crash()}),
    "lowered_only_by_a_rollback": Story(verdicts=((0.0, "inconclusive"),)),
    "nothing_is_written_after_a_persons_edit": Story(edits=((_HOUR / 2, Edit({"rolloutPercentage": 2})),)),
    "what_is_overwritten_is_put_back": Story(racing={2: Edit({"rolloutPercentage": 0})}),
    "a_fail_ends_at_the_rollback_target": Story(verdicts=((0.0, "fail"),)),
    # Its process ends after the last write, before Airflow is told.
    "a_completed_rollout_rests": Story(stages=_TWO_STAGES, crashes={("end", 2): Crash()}),
    "nothing_starts_again_after_a_rollback": Story(
        stages=_TWO_STAGES, verdicts=((0.0, "fail"),), crashes={("end", 2): Crash()}, state="none"
    ),
    "nothing_is_raised_outside_the_window": Story(
        window=ChangeWindow(days="Mon-Fri", start="09:00", end="17:00", timezone="UTC")
    ),
    "nothing_is_raised_while_held": Story(edits=((_HOUR / 2, Edit({"tags": ["rollout-hold"]})),)),
    "nothing_else_is_changed": Story(segment="Beta"),
}
