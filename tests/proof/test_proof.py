"""The invariants of a rollout hold in all generated histories (``tests/invariants/__init__.py``)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TypeVar

from hypothesis import HealthCheck, event, example, given, note, settings

from tests.invariants import violations
from tests.proof.histories import stories
from tests.proof.reach import reached
from tests.proof.story import Story
from tests.proof.telling import tell
from tests.proof.telltales import FOUND, TELLTALES

Test = TypeVar("Test", bound=Callable[..., None])

DEEP = os.environ.get("AMPEXP_PROOF_EXAMPLES")
_BOUNDED = 500


def every_one_of(told: Iterable[Story]) -> Callable[[Test], Test]:
    """Also test these stories, before the generated stories."""
    return lambda test: reduce(lambda test, story: example(story)(test), told, test)


@settings(
    max_examples=int(DEEP or _BOUNDED),
    derandomize=not DEEP,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@every_one_of([*TELLTALES.values(), *FOUND])
@given(stories())
def test_the_invariants_hold_of_every_history(story: Story) -> None:
    observed = tell(story)
    note(observed.told())
    for name in reached(story, observed):
        event(name)  # pytest --hypothesis-show-statistics counts them
    assert violations(observed) == []
