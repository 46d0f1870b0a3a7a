"""Generated histories reach the states and the events that they must test."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.proof.histories import stories
from tests.proof.reach import happenings, reached
from tests.proof.story import Story
from tests.proof.telling import tell

_SEEDS = range(4)  # the stories of one seed are too similar
_STORIES_OF_A_SEED = 75
_PERCENT = {
    "first raise": range(60, 100),
    "second raise": range(20, 100),
    "rollback": range(4, 50),
    "refused for others": range(10),  # a few of them, which may be less than 1 %
}


def test_most_histories_reach_a_raise_and_each_thing_happens_to_some() -> None:
    counts: Counter[str] = Counter()

    def count(story: Story) -> None:
        counts.update(["history", *reached(story, tell(story))])

    generated = settings(
        max_examples=_STORIES_OF_A_SEED,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    for number in _SEEDS:
        seed(number)(generated(given(stories())(count)))()
    shares = {name: 100 * counts[name] // counts["history"] for name in _PERCENT}
    assert {name: share for name, share in shares.items() if share not in _PERCENT[name]} == {}, counts
    assert {name for name in _PERCENT if not counts[name]} == set(), counts
    assert {name for name in happenings(Story()) if not counts[f"raise and {name}"]} == set(), counts
