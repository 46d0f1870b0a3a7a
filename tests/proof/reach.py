"""The progress and the events of a history, because a rollout that is refused at its start proves little."""

from __future__ import annotations

from collections.abc import Iterator

from tests.invariants.observed import History, Observed
from tests.proof.story import Edit, Story
from tests.proof.world import US

_AUDIENCE = {"conditions", "rolloutWeights", "bucketingSalt", "stickyBucketing"}


def reached(story: Story, observed: Observed) -> Iterator[str]:
    """Yield the names of the states that a history reached, and of its events if it reached a raise."""
    history = History(observed)
    steps = [change for change in history.changes if not history.puts_back(change)]
    raises = [change for change in steps if change.raises]
    is_enabled = story.start[1]
    if story.others and story.enable and not is_enabled and observed.attempts[0].outcome == "failed" and not steps:
        yield "refused for others"
    if any(change.lowers for change in steps):
        yield "rollback"
    if len(raises) > 1:
        yield "second raise"
    if raises:
        yield "first raise"
        yield from (f"raise and {name}" for name, happens in happenings(story).items() if happens)


def happenings(story: Story) -> dict[str, bool]:
    """Return the possible events of a story, and whether this story has them."""
    edits = [*(edit for _, edit in story.edits), *story.racing.values()]
    return {
        "approval": bool(story.approvals),
        "audience": any(map(_is_of_the_audience, edits)),
        "clear": bool(story.clears),
        "crash": bool(story.crashes),
        "drift": any(edit.by != US and not _is_of_the_audience(edit) for _, edit in story.edits),
        "fault": bool(story.faults or story.outages),
        "other users": story.others > 0,
        "own step": any(edit.by == US for edit in edits),
        "race": bool(story.racing),
        "sticky": story.starts_sticky,
        "thin history": story.is_thin,
    }


def _is_of_the_audience(edit: Edit) -> bool:
    return bool(_AUDIENCE & set(edit.fields))
