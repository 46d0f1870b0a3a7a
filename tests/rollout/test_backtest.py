"""Past releases of a version history, and the looks of their guardrails. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_ampexp.rollout import GuardrailPolicy, RolloutPlan
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._backtest import Look, PastRelease, ReleaseBacktest, backtest, past_releases
from airflow_provider_ampexp.rollout._history import Exposure, VersionEntry

BEGAN = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)
LONG_AGO, LATER = BEGAN - timedelta(days=900), BEGAN + timedelta(days=900)
PLAN = RolloutPlan([1, 25, 100], soak="4h", check_every="1h", guardrails=[object()], hold_timeout="6h")


def hours(count: float) -> datetime:
    return BEGAN + timedelta(hours=count)


def history(*positions: tuple[float, float]) -> tuple[VersionEntry, ...]:
    """Return versions, newest first, from hours and percentages; disabled at 0 %."""
    given = [(-99, 0), *positions]
    entries = [
        VersionEntry(number, hours(hour), "Ana", Exposure(percentage, percentage > 0))
        for number, (hour, percentage) in enumerate(given, 1)
    ]
    return tuple(reversed(entries))


def release(*positions: tuple[float, float]) -> PastRelease:
    (found,) = past_releases(history(*positions), LONG_AGO, LATER)
    return found


def says(verdict: Callable[[Look], Any], **policy: Any) -> Callable[[Look], list[GuardrailStatus]]:
    def ask(look: Look) -> list[GuardrailStatus]:
        before = look.statuses[0] if look.statuses else GuardrailStatus("errors", GuardrailPolicy(**policy))
        return [before.with_result(verdict(look), "it is so", None, look.at)]

    return ask


def looks(found: ReleaseBacktest) -> list[tuple[float, float]]:
    """Return percentage and hour of each look."""
    return [(look.look.stage.percentage, (look.look.at - BEGAN) / timedelta(hours=1)) for look in found.looks]


def test_a_release_is_the_raises_up_to_the_next_lowering() -> None:
    first, second = past_releases(history((0, 1), (5, 25), (9, 0), (50, 5), (60, 100)), LONG_AGO, LATER)
    assert [(stage.percentage, stage.began_at, stage.left_at) for stage in first.stages] == [
        (1, hours(0), hours(5)),
        (25, hours(5), hours(9)),
    ]
    assert first.lowered is not None
    assert (first.lowered.entry.at, first.lowered.after.effective_percentage) == (hours(9), 0)
    assert [stage.percentage for stage in second.stages] == [5, 100]
    assert (second.lowered, second.stages[-1].left_at) == (None, LATER)


def test_a_part_of_a_lowering_ends_a_release_too() -> None:
    first, second = past_releases(history((0, 1), (5, 50), (9, 5), (20, 50)), LONG_AGO, LATER)
    assert first.lowered is not None
    assert [stage.percentage for stage in second.stages] == [50]


@pytest.mark.parametrize(("days", "counts"), [(13, True), (15, False)])
def test_a_lowering_long_after_the_last_raise_is_a_clean_up(days: int, counts: bool) -> None:
    assert (release((0, 1), (5, 100), (5 + 24 * days, 0)).lowered is not None) is counts


def test_a_period_has_the_releases_that_began_in_it() -> None:
    versions = history((0, 1), (9, 0), (50, 5), (60, 0))
    assert [release.stages[0].began_at for release in past_releases(versions, hours(1), LATER)] == [hours(50)]
    (first,) = past_releases(versions, LONG_AGO, hours(8))
    assert (first.lowered, first.stages[0].left_at) == (None, hours(8))


def test_versions_without_a_time_or_a_position_are_ignored() -> None:
    versions = list(history((0, 1), (5, 25), (9, 0)))
    versions[1] = replace(versions[1], at=None)
    versions.insert(1, replace(versions[0], version=9, exposure=None, at=hours(8)))
    (found,) = past_releases(versions, LONG_AGO, LATER)
    assert [stage.percentage for stage in found.stages] == [1]


def test_the_looks_are_each_interval_and_the_end_of_the_soak() -> None:
    found = backtest(PLAN, release((0, 1), (6, 25), (11, 100)), says(lambda look: "pass"))
    assert looks(found) == [(1, 1), (1, 2), (1, 3), (1, 4), (25, 7), (25, 8), (25, 9), (25, 10)]
    assert (found.stopped, found.held, found.earlier_by) == (None, None, None)
    at_the_end = backtest(replace(PLAN, check_every=None, soak=None), release((0, 1), (6, 25)), says(lambda _: "pass"))
    assert looks(at_the_end) == [(1, 4), (25, 10)]


def test_no_look_is_after_the_stage_was_left() -> None:
    found = backtest(PLAN, release((0, 1), (2.5, 25), (4, 0)), says(lambda look: "pass"))
    assert looks(found) == [(1, 1), (1, 2), (25, 3.5)]


def test_the_limit_of_a_guardrail_stops_the_release_and_later_looks() -> None:
    made = release((0, 1), (5, 25), (20, 0))
    found = backtest(PLAN, made, says(lambda look: "fail" if look.stage.percentage == 25 else "pass", failure_limit=3))
    assert looks(found)[-1] == (25, 8)
    assert found.stopped is found.looks[-1]
    assert found.stopped.why.startswith("errors (fail 3 of 3)")
    assert found.earlier_by == timedelta(hours=12)


def test_counts_begin_again_at_each_stage() -> None:
    made = release((0, 1), (2.5, 25), (5, 100))
    found = backtest(PLAN, made, says(lambda look: "fail", failure_limit=3))
    assert found.stopped is None
    assert looks(found) == [(1, 1), (1, 2), (25, 3.5), (25, 4.5)]


@pytest.mark.parametrize(("on_hold_timeout", "stops_at"), [("stop", None), ("rollback", (1, 7))])
def test_a_hold_lasts_as_long_as_in_a_rollout(on_hold_timeout: str, stops_at: tuple[float, float] | None) -> None:
    plan = replace(PLAN, on_hold_timeout=on_hold_timeout, soak=None)
    found = backtest(plan, release((0, 1), (40, 25)), says(lambda look: "fail", effect="hold"))
    assert found.held is found.looks[0]
    assert [hour for percentage, hour in looks(found) if percentage == 1] == [1, 2, 3, 4, 5, 6, 7]
    assert (looks(found)[-1] if found.stopped else None) == stops_at


def test_percentages_that_are_no_stage_have_the_longer_soak_of_their_neighbours() -> None:
    plan = RolloutPlan(
        [{"percentage": 5, "soak": "2h"}, {"percentage": 50, "soak": "3h"}, {"percentage": 90, "soak": "1h"}],
        guardrails=[object()],
    )
    made = release((0, 0.5), (10, 20), (20, 95))
    assert looks(backtest(plan, made, says(lambda look: "pass"))) == [(0.5, 2), (20, 13), (95, 21)]


def test_a_last_stage_without_a_soak_has_no_look() -> None:
    assert looks(backtest(PLAN, release((0, 100)), says(lambda look: "fail"))) == []
