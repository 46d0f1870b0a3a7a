"""The invariants of a rollout, each with its name. They hold in all circumstances.

The invariants judge a rollout from outside: from the plan, the service's version history, and the messages of the
attempts (``tests/invariants/observed.py``). ``tests/proof`` applies them to generated histories, and ``make chaos`` to
the histories of a real Airflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from math import ceil

from tests.invariants.observed import Change, Entry, History, Observed, Stand, Verdict
from tools.audience import changes_by_people, gives_it_otherwise, is_another, is_sticky, lets_others_in

Found = Iterator[tuple[str, Entry | None]]
"""The problem, and its version."""

# The words with which a task reports that the flag is not at the target of a rollback.
_SAYS_SO = ("ROLLBACK NOT CONFIRMED", "was left at", "left the flag as it is", "It stays as it is")


def violations(observed: Observed) -> list[str]:
    """Judge a rollout by all invariants: ``name: what, at which version`` for each violation."""
    history = History(observed)
    return [
        f"{invariant.__name__}: {what}{f', at {entry}' if entry else ''}"
        for invariant in INVARIANTS
        for what, entry in invariant(observed, history)
    ]


def exposure_is_earned(observed: Observed, history: History) -> Found:
    """Only the next stage is set, so the exposure is never above the highest stage whose predecessors all passed.

    If the percentage waits for an approval and the change of ``enabled`` does not, the flag is enabled at its former
    percentage. If another actor sets a percentage just before the flag is enabled, it is enabled at that percentage.

    A raise needs a pass of the same attempt at the present stage, after the whole soak and not too long ago.
    """
    for change in _raises(history):
        stand, known = change.entry.stand, change.known.stand
        expected = observed.plan.next_above(known.reached)
        allowed = {entry.stand.percentage for entry in change.unseen}
        if expected is not None:
            allowed |= {expected.percentage, min(known.percentage, expected.percentage)}
        if stand.percentage not in allowed:
            yield f"the next stage after {known} is {expected and expected.percentage} %", change.entry
        if observed.plan.checked and observed.verdicts is not None and observed.plan.stage_at(known.reached):
            problem = _rests_on(observed, history, change)
            if problem:
                yield problem, change.entry


def no_soak_is_cut_short(observed: Observed, history: History) -> Found:
    """No raise is before the end of the present stage's soak, and no rollout is complete before the last soak ends."""
    for change in _raises(history):
        stage = observed.plan.stage_at(change.known.stand.reached)
        since = history.since(change.known)
        if stage is not None and change.entry.at - since < stage.soak - observed.granularity:
            yield f"{stage.percentage} % soaked {change.entry.at - since} instead of {stage.soak}", change.entry
    for place, attempt in enumerate(observed.attempts):
        last = history.stand_at_the_end(place)
        stage = observed.plan.stage_at(last.stand.reached)
        if attempt.outcome in ("success", "lost") and stage is not None:
            soaked = attempt.ended - history.since(last)
            if stage != observed.plan.all_stages[-1] or soaked < stage.soak - observed.granularity:
                yield f"it ended well after {soaked} at {stage.percentage} %", last


def no_soak_begins_anew(observed: Observed, history: History) -> Found:
    """No crash restarts a soak: a raise follows as soon as possible after the soak."""
    if observed.prompt_within is None:
        return
    for change in _raises(history):
        stage = observed.plan.stage_at(change.known.stand.reached)
        if stage is None:
            continue
        began = observed.attempts[observed.run_of(change.attempt)].began
        due = max(history.soaks_since(change.known) + stage.soak, began)
        late = _without(observed.excused, due, change.entry.at)
        if late > observed.prompt_within:
            yield f"{stage.percentage} % had soaked at {due}, and was left {late} later than could be", change.entry


def lowered_only_by_a_rollback(observed: Observed, history: History) -> Found:
    """Exposure is lowered only after a fail, and only to the target of a rollback."""
    for change in _lowers(history):
        run = observed.run_of(change.attempt)
        fails = [
            failure
            for failure in _fails(observed)
            if observed.run_of(failure.attempt) == run and failure.at <= change.entry.at
        ]
        if observed.verdicts is not None and not fails:
            yield "nothing had failed", change.entry
        targets = _targets(observed, history, run, change.known)
        if fails:  # another actor may have raised the flag during the check
            targets += _targets(observed, history, run, change.known, failed_at=fails[-1].percentage)
        if not change.unseen and not any(_reaches(change.entry.stand, target) for target in targets):
            yield f"a rollback goes to {' or '.join(map(str, targets))}", change.entry


def nothing_is_written_after_a_persons_edit(observed: Observed, history: History) -> Found:
    """With ``on_drift="stop"``, an attempt writes nothing after it has read a change of exposure by another actor.

    A person who disables or archives the flag stops any rollout. No attempt writes to a flag that it knows to be
    archived.

    Until a run has raised the flag, each of its attempts begins from the present exposure. An attempt can read a change
    that the history does not show only while the change lasts. A person's change that equals a write in flight does not
    stop the rollout.
    """
    for change in history.changes:
        run = observed.run_of(change.attempt)
        raised = (change.entry.at for change in _raises(history) if observed.run_of(change.attempt) == run)
        began = min([observed.attempts[change.attempt].began, *raised])
        if change.known.stand.archived and not history.puts_back(change):
            yield f"it was archived in {change.known}", change.entry
            continue
        for before, after in history.external_changes():
            stops = observed.plan.on_drift == "stop" or after.stand.reached < 0 <= before.stand.reached
            is_back = any(entry.stand == after.stand for entry in history.entries[: after.place])
            lasts = after.stand == change.known.stand and history.since(change.known) <= after.at
            is_shown = history.shows(after) or (lasts and not is_back)
            is_drift = is_shown and after.number not in observed.agreed and not history.could_be_a_step(after)
            was_seen = after.place <= change.known.place and after.at > began and is_drift
            if was_seen and stops and not after.is_ours and not history.puts_back(change):
                yield f"written after {after}", change.entry
                break


def nothing_ends_well_after_an_external_change(observed: Observed, history: History) -> Found:
    """With ``on_drift="stop"``, no attempt succeeds after it has read an external change, by any key.

    Changes before the first raise of a run do not count. ``what_is_overwritten_is_put_back`` judges changes that an
    attempt overwrote unseen.
    """
    unseen = {entry.number for change in history.changes for entry in change.unseen}
    passed_over = unseen | set(observed.agreed)
    for place, attempt in enumerate(observed.attempts):
        if attempt.outcome not in ("success", "lost") or observed.plan.on_drift != "stop":
            continue
        run = observed.run_of(place)
        began = min(
            [attempt.began, *(change.entry.at for change in _raises(history) if observed.run_of(change.attempt) == run)]
        )
        for _, after in history.external_changes():
            is_external = not after.is_ours and after.number not in passed_over and history.shows(after)
            is_external = is_external and not history.could_be_a_step(after)
            if is_external and began < after.at and after.number <= observed.last_read.get(place, 0):
                yield "it ended well", after


def another_tasks_step_is_checked(observed: Observed, history: History) -> Found:
    """No attempt succeeds at a stage that another task set with the same key, before the guardrails pass there."""
    for place, attempt in enumerate(observed.attempts):
        if attempt.outcome not in ("success", "lost") or observed.plan.on_drift != "stop" or not observed.plan.checked:
            continue
        last = history.stand_at_the_end(place)
        began = next(
            entry for entry in history.entries if entry.at >= history.since(last) and entry.stand == last.stand
        )
        run = observed.run_of(place)
        raised = any(
            change.entry.at < began.at for change in _raises(history) if observed.run_of(change.attempt) == run
        )
        if began.is_ours or not began.place or not raised or not history.could_be_a_step(began):
            continue
        told = [verdict for verdict in observed.verdicts or () if verdict.attempt == place and verdict.at > began.at]
        if not told or told[-1].acts != "go":
            yield "no guardrail had passed there", began


def what_is_overwritten_is_put_back(observed: Observed, history: History) -> Found:
    """A change by another actor between a poll and our write is restored, unless the attempt died or reports otherwise.

    A retry restores the change if the attempt could not read its write back. The change is not restored in four cases:
    the history does not show it; another actor repeats it during the restoration; a rollback has reached the same or a
    lower exposure; or the changed percentage is in effect, because our write waits for an approval.
    """
    for change in history.changes:
        lost, known = history.overwritten(change), change.known.stand
        attempt = observed.attempts[change.attempt]
        if lost is None or attempt.outcome == "killed" or {lost.number, change.entry.number} & set(observed.hidden):
            continue
        moved_only_that = (lost.stand.enabled, lost.stand.archived) == (known.enabled, known.archived)
        if moved_only_that and lost.stand.percentage == change.entry.stand.percentage:
            continue
        run = observed.run_of(change.attempt)
        ended = max(attempt.ended for attempt in observed.attempts_of(run))
        later = [entry for entry in history.entries[change.entry.place + 1 :] if entry.at <= ended]
        if any(change.stand == lost.stand or not change.is_ours for change in later) or "NOT restored" in attempt.said:
            continue
        if history.puts_back(change) or change.entry.stand.exposure <= min(lost.stand.exposure, known.exposure):
            continue
        if "reading it back failed" in attempt.said and _no_retry_can_put_back(observed, history, change, lost):
            continue
        yield f"{lost} was written over", change.entry


def _no_retry_can_put_back(observed: Observed, history: History, change: Change, lost: Entry) -> bool:
    """Return true if no retry can restore a change, for one of four reasons.

    No retry could read the flag. Or the change looks like the exposure at the start of the run, from which the next
    raise is the same. Or a retry stopped and named the actor of the raise. Or it is not known who made the raise.
    """
    run = observed.run_of(change.attempt)
    last = observed.attempts_of(run)[-1]
    first = next(change for change in history.changes if observed.run_of(change.attempt) == run)
    expected = observed.plan.next_above(lost.stand.reached)
    leads_to_the_same = expected is not None and expected.percentage == change.entry.stand.percentage
    is_named = "since this run began, the flag was" in last.said
    return (
        last.outcome == "up_for_retry"
        or (change is first and (leads_to_the_same or "It is not known whether" in last.said))
        or (is_named and lost.stand.exposure >= change.known.stand.exposure)
    )


def a_fail_ends_at_the_rollback_target(observed: Observed, history: History) -> Found:
    """After a fail the flag ends at the rollback target, or the task reports that it does not."""
    for run in observed.runs():
        fail = next((failure for failure in _fails(observed) if failure.attempt in run and failure.kept), None)
        said = observed.attempts[run[-1]]
        lowered = [change for change in _lowers(history) if change.attempt in run]
        if "Rolled back" in said.said and not lowered and not _was_moved(history, run, observed):
            yield f"it says {said.said!r}, and nothing was lowered", None
        if fail is None or said.outcome == "killed" or any(change.entry.at >= fail.at for change in lowered):
            continue
        ended = history.stand_at_the_end(run[-1])
        if said.outcome in ("success", "lost"):
            yield f"the guardrails failed at {fail.at}, and the task ended well", ended
        elif not any(words in said.said for words in _SAYS_SO):
            targets = _targets(observed, history, run[0], history.stand_at(fail.at))
            if not any(target is not None and ended.stand.exposure <= target.exposure for target in targets):
                yield f"the guardrails failed at {fail.at}, and the task says only {said.said!r}", ended


def a_completed_rollout_rests(observed: Observed, history: History) -> Found:
    """A completed rollout writes no more, unless a person clears it or a guardrail fails."""
    for place, attempt in enumerate(observed.attempts):
        if attempt.outcome not in ("success", "lost"):
            continue
        for change in history.changes:
            if change.entry.at <= attempt.ended or observed.run_of(change.attempt) > place:
                continue
            fails = (failure for failure in _fails(observed) if attempt.ended < failure.at <= change.entry.at)
            if not (change.lowers and any(fails)) and not history.puts_back(change):
                yield f"it had completed at {attempt.ended}", change.entry


def nothing_starts_again_after_a_rollback(observed: Observed, history: History) -> Found:
    """After a rollback there is no raise until a person clears the task."""
    for back in _lowers(history):
        for change in _raises(history):
            again = back.entry.place <= change.known.place
            if again and observed.run_of(change.attempt) == observed.run_of(back.attempt):
                yield f"it had been rolled back by {back.entry}", change.entry


def nothing_is_raised_outside_the_window(observed: Observed, history: History) -> Found:
    """Each raise is within the plan's window."""
    window = observed.plan.window
    for change in _raises(history):
        at = change.entry.at
        if window and not window.is_open(at) and not window.is_open(at - observed.in_flight - observed.granularity):
            yield "the window was closed", change.entry


def nothing_is_raised_while_held(observed: Observed, history: History) -> Found:
    """There is no raise while the flag has the hold tag."""
    for change in _raises(history):
        if observed.plan.hold_tag in (change.known.config.get("tags") or ()):
            yield f"it was held by {change.known}", change.entry


def nothing_is_raised_for_another_audience(observed: Observed, history: History) -> Found:
    """With ``on_drift="stop"``, an attempt raises no more after it has read a change of the audience by another actor.

    Hidden versions cannot be compared. Until a run has raised the flag, it accepts the present audience.
    """
    if observed.plan.on_drift != "stop" or observed.hidden:
        return
    for change in _raises(history):
        run = observed.run_of(change.attempt)
        raised = (change.entry.at for change in _raises(history) if observed.run_of(change.attempt) == run)
        began = min([observed.attempts[change.attempt].began, *raised])
        for theirs in changes_by_people(history, observed.plan.segment):
            if began < theirs.at and theirs.place <= change.known.place and not _gives_back(history, theirs, began):
                yield f"raised after {theirs} had changed who gets what", change.entry
                break


def _gives_back(history: History, theirs: Entry, began: datetime) -> bool:
    """Return true if a change restores a part of the audience that another actor removed during the first poll.

    The first poll may not have read that removal.
    """
    race = history.observed.race
    first = [entry for entry in history.entries if entry.at < began - race or entry.place == 0][-1]
    was_seen = history.entries[theirs.place - 1].at > began + race
    return not was_seen and not is_another(first.config, theirs.config, history.observed.plan.segment)


def no_raise_lets_others_in(observed: Observed, history: History) -> Found:
    """No raise enables a disabled flag that then gives the feature to other segments or to all other users.

    Such a rollout is refused at the start, because nobody approved that audience. Where the flag is enabled before,
    those users already have the feature.
    """
    for change in _raises(history):
        enables = change.entry.stand.enabled and not change.known.stand.enabled
        if enables and lets_others_in(change.known.config, observed.plan.segment):
            yield f"others got it too, as {change.known} shows", change.entry


def nothing_is_raised_that_cannot_be_lowered(observed: Observed, history: History) -> Found:
    """There is no raise while sticky bucketing is enabled, unless a rollback disables the flag or leaves it."""
    if observed.plan.rollback in ("off", "hold"):
        return
    for change in _raises(history):
        if is_sticky(change.known.config) and change.known.number not in observed.hidden:
            yield f"sticky bucketing was on in {change.known}", change.entry


def confirmed_is_said_of_what_nobody_gets_otherwise(observed: Observed, history: History) -> Found:
    """A rollback is reported as confirmed only if users get the flag in no other way."""
    for place, attempt in enumerate(observed.attempts):
        written = [change.entry for change in history.changes if change.attempt == place]
        if "confirmed it by reading" not in attempt.said or not written or written[-1].number in observed.hidden:
            continue
        last = written[-1]
        if last.stand.reached < 0:  # no user gets an archived or a disabled flag
            continue
        if gives_it_otherwise(last.config, observed.plan.segment):
            yield f"it says {attempt.said!r}", last


def nothing_else_is_changed(observed: Observed, history: History) -> Found:
    """A rollout writes only the ramped percentage and ``enabled``; with ``switch_off``, also sticky bucketing."""
    ramped = "rolloutPercentage" if observed.plan.segment is None else "targetSegments"
    racing = {change.attempt for change in history.changes if change.unseen}
    allowed = {"enabled", ramped, "state", "startDate"}  # the service sets these when it enables an experiment
    if observed.plan.sticky == "switch_off":
        allowed.add("stickyBucketing")
    for change in history.changes:
        if change.attempt in racing:  # another invariant judges restorations
            continue
        was, now = change.known.config, change.entry.config
        wrong = [name for name in {*was, *now} - allowed if was.get(name) != now.get(name)]
        if observed.plan.segment is not None and _others(observed, change.known) != _others(observed, change.entry):
            wrong.append("other segments")
        if is_sticky(now) and not is_sticky(was):
            wrong.append("sticky bucketing was switched on")
        if wrong:
            yield f"it changed {', '.join(sorted(wrong))}", change.entry


INVARIANTS: tuple[Callable[[Observed, History], Found], ...] = (
    exposure_is_earned,
    no_soak_is_cut_short,
    no_soak_begins_anew,
    lowered_only_by_a_rollback,
    nothing_is_written_after_a_persons_edit,
    nothing_ends_well_after_an_external_change,
    another_tasks_step_is_checked,
    what_is_overwritten_is_put_back,
    a_fail_ends_at_the_rollback_target,
    a_completed_rollout_rests,
    nothing_starts_again_after_a_rollback,
    nothing_is_raised_outside_the_window,
    nothing_is_raised_while_held,
    nothing_is_raised_for_another_audience,
    no_raise_lets_others_in,
    nothing_is_raised_that_cannot_be_lowered,
    confirmed_is_said_of_what_nobody_gets_otherwise,
    nothing_else_is_changed,
)


def _raises(history: History) -> list[Change]:
    return [
        change
        for change in history.changes
        if change.raises and not history.puts_back(change) and not _only_unsticks(change)
    ]


def _only_unsticks(change: Change) -> bool:
    """Return true if this write only disabled sticky bucketing, and left the percentage of an unseen raise."""
    theirs, ours = change.unseen[-1] if change.unseen else change.known, change.entry
    return theirs.stand == ours.stand and is_sticky(theirs.config) and not is_sticky(ours.config)


def _lowers(history: History) -> list[Change]:
    return [change for change in history.changes if change.lowers and not history.puts_back(change)]


def _fails(observed: Observed) -> list[Verdict]:
    return [verdict for verdict in observed.verdicts or () if verdict.acts == "roll back"]


def _rests_on(observed: Observed, history: History, change: Change) -> str | None:
    """Return the problem of the verdict that allows a raise; ``None`` if there is no problem."""
    known = change.known
    since, stage = history.since(known), observed.plan.stage_at(known.stand.reached)
    told = [
        verdict
        for verdict in observed.verdicts or ()
        if verdict.attempt == change.attempt
        and verdict.percentage == known.stand.percentage
        and verdict.at <= change.entry.at
    ]
    if not told or stage is None:
        return f"nobody had asked the guardrails at {known.stand}"
    last = told[-1]
    if last.acts != "go":
        return f"the guardrails had said {last.acts!r} at {last.at}"
    if last.at < since + stage.soak - observed.granularity:
        return f"the guardrails were asked at {last.at} last, before the soak was over"
    if change.entry.at - last.at > observed.plan.recheck + observed.in_flight + observed.granularity:
        return f"the guardrails were asked at {last.at} last, which is too long ago"
    return None


def _targets(
    observed: Observed, history: History, run: int, present: Entry, failed_at: float = 100
) -> list[Stand | None]:
    """Return the valid targets of a rollback; ``None`` stands for no change.

    A run may begin in the middle of a rollout, after a clear. Then the start of this run and the start of the rollout
    are both valid. The unbroken raises of the plan show the start of the rollout.
    """
    rollback, stand = observed.plan.rollback, present.stand
    began = history.stand_at(observed.attempts[run].began)
    starts = [began.stand, *_before_unbroken_raises(observed, history, began)]
    starts += _before_first_raises(observed, history, run)
    if observed.plan.on_drift == "adopt":
        starts += _left_by_the_dead(observed, history)
    below = observed.plan.highest_below(min(stand.percentage, failed_at))
    wanted: list[Stand] = starts
    if rollback == "hold":
        return [None]
    if rollback == "off":
        wanted = [Stand(0, False)]
    elif rollback == "previous" and below is not None:
        wanted = [Stand(below.percentage, True)]
    elif isinstance(rollback, int):
        wanted = [Stand(rollback, True)]
    return [target if target.exposure < stand.exposure else None for target in wanted]


def _left_by_the_dead(observed: Observed, history: History) -> list[Stand]:
    """Return the exposures after attempts that overwrote a person's edit, and died before they restored it.

    Such an exposure looks like the write of another task with the same key, so a retry that adopts begins from it.
    """
    dead = [place for place, attempt in enumerate(observed.attempts) if attempt.outcome == "killed"]
    return [change.entry.stand for change in history.changes if change.attempt in dead and history.overwritten(change)]


def _before_first_raises(observed: Observed, history: History, run: int) -> list[Stand]:
    firsts: dict[int, Stand] = {}
    for change in _raises(history):
        firsts.setdefault(observed.run_of(change.attempt), change.known.stand)
    return [stand for begun, stand in firsts.items() if begun <= run]


def _before_unbroken_raises(observed: Observed, history: History, began: Entry) -> Iterator[Stand]:
    """Yield the exposure before each of the unbroken raises, by one actor, that led to the start of a run."""
    by = None
    for before, after in reversed(list(history.external_changes())):
        if after.place > began.place:
            continue
        stage = observed.plan.next_above(before.stand.reached)
        if stage is None or after.stand != Stand(stage.percentage, True) or by not in (None, after.by):
            return
        by = after.by
        yield before.stand


def _reaches(stand: Stand, target: Stand | None) -> bool:
    """Return true if the flag is at the target for its users. A disabled flag may have any percentage."""
    return target is not None and (stand.exposure, stand.enabled) == (target.exposure, target.enabled)


def _was_moved(history: History, run: list[int], observed: Observed) -> bool:
    """Return true if another actor changed the exposure after the start of a run."""
    began = observed.attempts[run[0]].began
    return any(not after.is_ours and after.at > began for _, after in history.external_changes())


def _without(excused: Iterable[tuple[datetime, datetime]], since: datetime, until: datetime) -> timedelta:
    """Return the time from one moment to another, without the excused times."""
    left, at = timedelta(0), since
    for begins, ends in sorted(excused):
        if begins > at:
            left += max(min(begins, until) - at, timedelta(0))
        at = max(at, ends)
    return left + max(until - at, timedelta(0))


def _others(observed: Observed, entry: Entry) -> list[object]:
    """Return the segments as users get them, without the ramped percentage."""
    return [
        {**segment, "percentage": None if segment["name"] == observed.plan.segment else ceil(segment["percentage"])}
        for segment in entry.config["targetSegments"]
    ]
