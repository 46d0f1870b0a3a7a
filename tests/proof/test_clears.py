"""A person clears a rolled-back rollout while its run continues. The time of the clear counts, not the run's start."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from tests.invariants import violations
from tests.invariants.observed import History
from tests.proof.story import Crash, Story
from tests.proof.telling import tell

_HOUR = 3600.0
# Rolled back at the end of its first soak, and cleared an hour later. The attempt after the clear dies right after its
# raise, and is retried.
CLEARED = Story(
    stages=((1, _HOUR), (5, 0.0)),
    verdicts=((0.0, "fail"), (1.5 * _HOUR, "pass")),
    clears=(2 * _HOUR,),
    run_goes_on=True,
    crashes={("write", 3): Crash(answered=True)},
)


@pytest.mark.parametrize("state", ["kept", "none"])
@pytest.mark.parametrize("clear_keeps_state", [False, True])
def test_a_retry_after_a_clear_goes_on(state: Literal["kept", "none"], clear_keeps_state: bool) -> None:
    observed = tell(replace(CLEARED, state=state, clear_keeps_state=clear_keeps_state))
    assert [attempt.outcome for attempt in observed.attempts] == ["failed", "killed", "success"]
    assert [entry.stand.exposure for entry in History(observed).entries] == [0, 1, 0, 1, 5]
    assert violations(observed) == []


@pytest.mark.parametrize("state", ["kept", "none"])
def test_a_retry_without_a_clear_does_not_go_on(state: Literal["kept", "none"]) -> None:
    """The attempt dies right after it has rolled back."""
    observed = tell(replace(CLEARED, clears=(), crashes={("end", 2): Crash()}, state=state))
    assert [attempt.outcome for attempt in observed.attempts] == ["killed", "failed"]
    assert [entry.stand.exposure for entry in History(observed).entries] == [0, 1, 0]
