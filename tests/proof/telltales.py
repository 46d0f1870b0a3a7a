"""Stories that each run includes: one for each broken rule, and stories in which generated histories found a bug."""

from __future__ import annotations

from tests.proof.story import NIGHTS, OFFICE_HOURS, Crash, Edit, Fault, Story

_HOUR = 3600.0
_FREE = [{"type": "property", "prop": "plan", "op": "is", "values": ["free"]}]
_TWO_STAGES = ((1, _HOUR), (5, 0.0))

# For each invariant, a story that violates it if its rule is broken.
TELLTALES: dict[str, Story] = {
    "exposure_is_earned": Story(),
    "no_soak_is_cut_short": Story(),
    "no_soak_begins_anew": Story(deferrable=False, crashes={("step", 9): Crash()}),
    "lowered_only_by_a_rollback": Story(verdicts=((0.0, "inconclusive"),)),
    "nothing_is_written_after_a_persons_edit": Story(edits=((_HOUR / 2, Edit({"rolloutPercentage": 2})),)),
    "nothing_ends_well_after_an_external_change": Story(
        edits=((_HOUR / 2, Edit({"rolloutPercentage": 100}, by="Airflow")),)
    ),
    # Another task with the same key sets the last stage, between the end of the soak and the check.
    "another_tasks_step_is_checked": Story(
        stages=_TWO_STAGES,
        verdicts=((0.0, "pass"),),
        edits=((_HOUR + 4.0, Edit({"rolloutPercentage": 5}, by="Airflow")),),
    ),
    "what_is_overwritten_is_put_back": Story(racing={2: Edit({"rolloutPercentage": 0})}),
    "a_fail_ends_at_the_rollback_target": Story(verdicts=((0.0, "fail"),)),
    # The process dies after the last write, before it reports its end to Airflow.
    "a_completed_rollout_rests": Story(stages=_TWO_STAGES, crashes={("end", 2): Crash()}),
    "nothing_starts_again_after_a_rollback": Story(
        stages=_TWO_STAGES, verdicts=((0.0, "fail"),), crashes={("end", 2): Crash()}, state="none"
    ),
    "nothing_is_raised_outside_the_window": Story(window=OFFICE_HOURS),
    "nothing_is_raised_while_held": Story(edits=((_HOUR / 2, Edit({"tags": ["rollout-hold"]})),)),
    "nothing_is_raised_for_another_audience": Story(
        segment="Beta", edits=((_HOUR / 2, Edit({"conditions": _FREE}, "Beta")),)
    ),
    "no_raise_lets_others_in": Story(segment="Beta", others=30),
    "nothing_is_raised_that_cannot_be_lowered": Story(is_experiment=True, starts_sticky=True),
    "confirmed_is_said_of_what_nobody_gets_otherwise": Story(
        segment="Beta", start=(0, True), others=30, verdicts=((0.0, "fail"),)
    ),
    "nothing_else_is_changed": Story(segment="Beta"),
}

# Stories with bugs that generated histories found.
FOUND = (
    # Maria enables the flag just before the rollout does.
    Story(stages=((0, 0.0), (1, 0.0)), start=(1, False), racing={2: Edit({"enabled": True})}),
    # Maria sets 0 % while a rollback disables the flag.
    Story(stages=((1, 1.0),), start=(2, False), verdicts=((0.0, "fail"),), racing={3: Edit({"rolloutPercentage": 0})}),
    # Maria edits the flag at each write of a retry, also while her edit is restored.
    Story(
        stages=((1, 0.0),),
        retries=1,
        start=(2, False),
        racing={number: Edit({"rolloutPercentage": 1 if number == 4 else 0}) for number in (1, 2, 3, 4)},
        crashes={("step", 5): Crash(noticed_after=1.0)},
    ),
    # Maria edits another segment at the time of a raise, and the ramped segment while her edit is restored.
    Story(
        stages=((1, 0.0),),
        segment="Beta",
        racing={1: Edit({"percentage": 0}, "Staff"), 2: Edit({"percentage": 0}, "Beta")},
    ),
    # Maria enables the flag right after a rollback has disabled it, where it had a higher percentage before.
    Story(stages=((1, 1.0),), start=(2, False), verdicts=((0.0, "fail"),), racing={4: Edit({"enabled": True})}),
    # Maria sets a percentage while the rollout's own waits for an approval, and only ``enabled`` is changed at once.
    Story(
        stages=((2, 0.0),),
        retries=0,
        racing={1: Edit({"rolloutPercentage": 1})},
        approvals=((0.0, 2.6, "percentages", False),),
    ),
    # Maria edits another segment at the time of a raise, and enables the flag while her edit is restored.
    Story(
        stages=((0, 0.0),),
        segment="Beta",
        start=(2, False),
        retries=0,
        racing={1: Edit({"percentage": 0}, "Staff"), 2: Edit({"enabled": True})},
    ),
    # Maria lowers the flag at the time of a raise, whose version does not show the percentage.
    Story(
        stages=((1, 0.0), (2, 0.0), (3, 0.0)),
        retries=0,
        racing={2: Edit({"rolloutPercentage": 0})},
        omit=("rolloutPercentage",),
        omit_one_of=2,
    ),
    # Maria edits another segment between two checks, and the history does not show the percentage.
    Story(
        stages=((1, 0.0), (2, 0.0)),
        verdicts=((0.0, "fail"),),
        failure_limit=2,
        edits=((45.0, Edit({"percentage": 0}, "Beta")),),
        omit=("rolloutPercentage",),
    ),
    # Maria edits the flag at the time of a raise, and again while the write that restores her first edit is repeated.
    Story(
        stages=((1, 0.0),),
        segment="Beta",
        start=(2, False),
        racing={1: Edit({"percentage": 0}, "Beta"), 3: Edit({"percentage": 0}, "Staff")},
        faults={("write", 2): Fault("cut after")},
    ),
    # Olga approves the change of a dead attempt, while its retry waits for the same change.
    Story(
        stages=((0, 0.0), (1, 6 * _HOUR)),
        crashes={("step", 1): Crash(answered=False, noticed_after=1.0, lives_on=8.0)},
        approvals=((0.0, 70.2, "all", True),),
    ),
    # An attempt that Airflow believes to be dead rolls back, while its retry may adopt the changes of others.
    Story(
        stages=((1, 0.0), (2, 0.0)),
        rollback=0,
        on_drift="adopt",
        verdicts=((0.0, "fail"),),
        failure_limit=2,
        deferrable=False,
        crashes={("step", 1): Crash(noticed_after=1.0, lives_on=330.0)},
    ),
    # Maria sets a fraction, which lets in the same users as the present percentage. She does it again while her edit is
    # restored, which needs a whole percentage.
    Story(stages=((3, 0.0),), start=(50, False), racing={2: Edit({"rolloutPercentage": 2.5})}),
    Story(
        stages=((0, 0.0), (1, 0.0)),
        racing={2: Edit({"rolloutPercentage": 2.5}), 3: Edit({"rolloutPercentage": 2.5})},
    ),
    # Maria lowers the percentage of a disabled flag while an attempt that dies enables the flag.
    Story(
        stages=((1, 0.0),),
        start=(2, False),
        racing={1: Edit({"enabled": False}), 2: Edit({"rolloutPercentage": 0})},
        crashes={("write", 2): Crash(noticed_after=1.0)},
    ),
    # Maria edits the flag at the time of a first raise that cannot be read back, with and without a retry.
    *(
        Story(
            stages=((1, 0.0), (5, 0.0)),
            start=(1, True),
            retries=retries,
            racing={1: Edit({"rolloutPercentage": percentage})},
            faults={("step", 4): Fault("garbage")},
        )
        for percentage in (0, 2, 30)
        for retries in (0, 1)
    ),
    # Maria raises or lowers the flag during a check that fails, and the rollout adopts her change.
    *(
        Story(
            stages=((1, _HOUR), (5, _HOUR), (25, 0.0)),
            rollback=rollback,
            on_drift="adopt",
            verdicts=((failed_from, "fail"),),
            check_takes=20.0,
            edits=((edited_at, Edit({"rolloutPercentage": percentage})),),
        )
        for rollback in ("start", "previous", "hold")
        for failed_from, edited_at, percentage in (
            (0.0, _HOUR + 35.0, 25),
            (1.5 * _HOUR, 2 * _HOUR + 60.0, 25),
            (1.5 * _HOUR, 2 * _HOUR + 60.0, 1),
        )
    ),
    # Maria archives the flag at the time of its rollback. Then no user gets it, also in the other segments.
    Story(
        stages=((1, _HOUR), (5, 0.0)),
        start=(0, True),
        others=30,
        verdicts=((0.0, "fail"),),
        racing={2: Edit({"archive": True})},
    ),
    # Maria archives a disabled flag and restores it before the next poll of the rollout.
    Story(
        stages=((1, 0.0),),
        verdicts=((0.0, "pass"),),
        check_takes=20.0,
        edits=((5.0, Edit({"archive": True})), (6.0, Edit({"archive": False}))),
    ),
    # Maria raises the flag outside the window, while the rollout disables sticky bucketing.
    Story(
        stages=((0, 0.0),),
        is_experiment=True,
        starts_sticky=True,
        sticky="switch_off",
        start=(0, True),
        enable=False,
        retries=0,
        window=OFFICE_HOURS,
        racing={1: Edit({"rolloutPercentage": 1})},
    ),
    # Another task with the same key raises a disabled flag and lowers it between two polls, and no version shows it.
    Story(
        stages=((26, 0.0), (82, 0.0)),
        segment="Beta",
        verdicts=((0.0, "pass"),),
        check_takes=0.0,
        poll_interval=600.0,
        retries=0,
        window=NIGHTS,
        edits=(
            (9.7, Edit({"percentage": 82}, "Beta", by="Airflow")),
            (48.6, Edit({"percentage": 0}, "Beta", by="Airflow")),
        ),
        omit=("targetSegments",),
    ),
    # A person lowers a disabled flag and raises it again between two polls, and no version shows the lower percentage.
    *(
        Story(
            stages=((0, 0.0), (1, 45.0), (2, 0.0)),
            start=(2, False),
            window=OFFICE_HOURS,
            verdicts=((0.0, "pass"),),
            poll_interval=600.0,
            retries=0,
            check_takes=0.0,
            edits=(
                (4.8, Edit({"rolloutPercentage": 0}, by=by)),
                (45.0, Edit({"rolloutPercentage": 2}, by=by)),
            ),
            omit=("rolloutPercentage",),
            omit_one_of=3,
            version_gaps=True,
        )
        for by in ("Airflow", "Maria")
    ),
    # Maria sets a fraction just below the first stage. The rollout rounds it up, and then the stage soaks in full.
    Story(
        stages=((3, 600.0), (4, 0.0), (5, 0.0)),
        start=(0, True),
        enable=False,
        retries=0,
        edits=((0.0, Edit({"rolloutPercentage": 2.5})),),
        clears=(900.0,),
        crashes={("step", 1): Crash(answered=False, noticed_after=1.0)},
    ),
    # Maria lowers the disabled flag at the time of the first raise, and the attempt dies before it can restore this.
    Story(
        stages=((2, 0.0), (3, 0.0)),
        on_drift="adopt",
        verdicts=((0.0, "fail"),),
        check_takes=0.0,
        retries=1,
        start=(2, False),
        racing={1: Edit({"rolloutPercentage": 1})},
        crashes={("write", 1): Crash(answered=True, noticed_after=1.0)},
    ),
    # Maria sets the first stage at the time of the first raise, and no version shows it.
    Story(
        stages=((1, 0.0), (2, 0.0)),
        start=(0, False),
        is_experiment=True,
        retries=0,
        racing={1: Edit({"rolloutPercentage": 1})},
        omit=("rolloutPercentage",),
    ),
    # Maria sets a fraction at the time of a raise. It counts as the next whole percentage, and is restored as it was.
    Story(stages=((3, 0.0),), start=(50, False), retries=0, racing={1: Edit({"rolloutPercentage": 2.5})}),
    # Maria edits the segment between the two reads of the first poll, which a version without a percentage causes.
    Story(
        stages=((0, 0.0),),
        segment="Beta",
        start=(0, False),
        retries=0,
        check_takes=0.0,
        edits=((2.5, Edit({"percentage": 1}, "Beta")),),
        omit=("rolloutPercentage",),
        omit_one_of=1,
    ),
    # Maria lowers the disabled flag when it is enabled, and sets a fraction while that is restored: both stay.
    Story(
        stages=((2, 0.0), (3, 0.0)),
        verdicts=((0.0, "pass"),),
        check_takes=0.0,
        retries=0,
        start=(3, False),
        is_experiment=True,
        racing={2: Edit({"rolloutPercentage": 0}), 3: Edit({"rolloutPercentage": 2.5})},
    ),
    # Maria sets the stage before, while the response to the last poll is in flight, so the poll cannot show it.
    Story(
        stages=((0, 0.0), (1, 0.0)),
        verdicts=((0.0, "pass"),),
        check_takes=0.0,
        retries=0,
        start=(0, False),
        edits=((3.6, Edit({"rolloutPercentage": 0})),),
    ),
    # Maria sets a fraction at the time of a raise, and disables the flag while the fraction is restored: both stay.
    Story(
        stages=((0, 0.0), (3, 0.0)),
        verdicts=((0.0, "pass"),),
        check_takes=0.0,
        retries=0,
        start=(0, False),
        racing={2: Edit({"rolloutPercentage": 2.5}), 3: Edit({"enabled": False})},
    ),
    # Another actor leaves the new stage right after the raise, and sets it again. With the same key, the history does
    # not show which of the two equal versions is the rollout's, so a lower percentage between them is restored.
    *(
        Story(
            stages=((0, _HOUR), (1, 0.0), (2, 0.0)),
            poll_interval=720.0,
            start=(0, False),
            is_experiment=True,
            keeps_kwargs=False,
            retries=0,
            check_takes=0.0,
            edits=tuple((_HOUR + 5.8, Edit({"rolloutPercentage": value}, by=by)) for value in (away, 1)),
        )
        for by in ("Airflow", "Maria")
        for away in (0, 100)
    ),
    # Maria lowers a segment during the first poll, and raises it a little before the first raise.
    Story(
        stages=((0, 0.0), (1, 0.0), (2, 600.0)),
        enable=False,
        inconclusive_limit=1,
        poll_interval=120.0,
        retries=0,
        start=(0, True),
        others=30,
        check_takes=0.0,
        edits=((2.4, Edit({"percentage": 0}, "Beta")), (0.0, Edit({"rolloutPercentage": 0}))),
        racing={1: Edit({"percentage": 1}, "Beta")},
    ),
)
