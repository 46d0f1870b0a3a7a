"""Whatever happens to a rollout, the invariants hold (``tools/invariants.py``)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, note, settings

from tests.proof.histories import stories
from tests.proof.story import Story
from tests.proof.telling import tell
from tools.invariants import violations

_DEEP = os.environ.get("AMPEXP_PROOF_EXAMPLES")
_BOUNDED = 1000


@settings(
    max_examples=int(_DEEP or _BOUNDED),
    derandomize=not _DEEP,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(stories())
def test_the_invariants_hold_of_every_history(story: Story) -> None:
    observed = tell(story)
    note(observed.told())
    assert violations(observed) == []
