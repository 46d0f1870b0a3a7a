"""``loaded_at_sql``: a rollout continues only with data that cover the whole soak."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from moments import BEGAN, moment
from sqlite_warehouse import Warehouse

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult, SampleRatioGuardrail, SqlGuardrail, run_checks
from airflow_provider_ampexp.guardrails import _warehouse as warehouses
from airflow_provider_ampexp.guardrails._data_time import load_time
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._actions import Complete, RunGuardrails, SetStage, Wait
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, VersionEntry
from airflow_provider_ampexp.rollout._state import RolloutState

HOUR = timedelta(hours=1)
SOAK_ENDS = BEGAN + HOUR
WHOLE = "select avg(failed), count(*) from checkouts where at >= {{ stage_started_at }}"
BOUNDED = WHOLE + " and at < {{ loaded_until }}"
LOADED = "select max(loaded) from loads"


@pytest.fixture
def loads(warehouse: Warehouse) -> Warehouse:
    warehouse.run("create table loads (loaded text)")
    warehouse.checkouts("new-checkout", "treatment", failed=0, of=10, at="2026-03-01 12:10:00+00:00")
    return warehouse


def answer(sql: str = WHOLE, hours: float = 1, **changed: Any) -> CheckResult:
    given = {"name": "errors", "no_data": "hold", "at_most": 0.02, "loaded_at_sql": LOADED, **changed}
    return run_checks([SqlGuardrail("warehouse", sql, **given)], moment(hours, soak_ends_at=SOAK_ENDS))[0][1]


@pytest.mark.parametrize("sql", [WHOLE, BOUNDED])
def test_data_that_end_before_the_soak_let_nothing_go_on(loads: Warehouse, sql: str) -> None:
    loads.run("insert into loads values ('2026-03-01 12:30:00')")
    why = "the warehouse is complete up to 2026-03-01 12:30 UTC, and the soak ends at 2026-03-01 13:00 UTC"
    assert answer(sql) == CheckResult("inconclusive", why, effect="wait")


@pytest.mark.parametrize("sql", [WHOLE, BOUNDED])
def test_data_of_the_whole_soak_are_judged(loads: Warehouse, sql: str) -> None:
    loads.run("insert into loads values ('2026-03-01 13:00:00')")
    assert answer(sql).verdict == "pass"


def test_complete_data_that_are_bad_already_fail_at_once(loads: Warehouse) -> None:
    loads.run("insert into loads values ('2026-03-01 12:30:00')")
    loads.checkouts("new-checkout", "treatment", failed=9, of=9, at="2026-03-01 12:20:00+00:00")
    assert answer(BOUNDED, hours=0.5).verdict == "fail"
    # This query would also read incomplete data.
    assert answer(WHOLE, hours=0.5).effect == "wait"


def test_data_that_are_later_than_the_limit_are_an_error(loads: Warehouse) -> None:
    assert answer(hours=3.9, load_timeout="3h").effect == "wait"
    late = answer(hours=4, load_timeout="3h")
    assert late.verdict == "error"
    assert late.why == (
        "TimeoutError: the warehouse is complete up to no time, and the soak ends at 2026-03-01 13:00 UTC: "
        "expected the data within 3 hours (load_timeout)"
    )


def test_a_load_time_in_the_future_is_an_error(loads: Warehouse) -> None:
    loads.run("insert into loads values ('2026-03-01 13:04:00')")
    assert answer(hours=1).verdict == "pass"  # the clocks differ
    loads.run("insert into loads values ('2026-03-01 14:00:00')")  # a local time without its zone
    early = answer(hours=1)
    assert early.verdict == "error"
    assert early.why == (
        "ValueError: loaded_at_sql expected a time in the past, got 2026-03-01 14:00 UTC, and it is 2026-03-01 13:00 "
        "UTC: a time without a zone is read as UTC"
    )


def test_a_sample_ratio_waits_for_its_data_too(loads: Warehouse) -> None:
    loads.exposures(control=100, treatment=100)
    ratio = SampleRatioGuardrail(
        "warehouse", "select * from exposures", no_data="hold", variant="on", loaded_at_sql=LOADED
    )
    at = moment(1, soak_ends_at=SOAK_ENDS)
    assert ratio.check(at).effect == "wait"
    loads.run("insert into loads values ('2026-03-01 13:00:00')")
    assert ratio.check(at).verdict == "pass"


def test_a_preflight_runs_both_queries(loads: Warehouse) -> None:
    typo = SqlGuardrail("warehouse", "selct 1", name="typo", no_data="hold", at_most=1, loaded_at_sql=LOADED)
    with pytest.raises(Exception, match="selct"):
        typo.check(moment(0, is_preflight=True))


def test_a_query_may_name_loaded_until_only_with_loaded_at_sql() -> None:
    with pytest.raises(InvalidInputError, match="loaded_until"):
        SqlGuardrail("warehouse", BOUNDED, name="errors", no_data="hold", at_most=1)
    with pytest.raises(InvalidInputError, match="loaded_at_sql"):
        SqlGuardrail("w", WHOLE, name="errors", no_data="hold", at_most=1, loaded_at_sql=" ")
    with pytest.raises(InvalidInputError, match="load_timeout"):
        SqlGuardrail("w", WHOLE, name="errors", no_data="hold", at_most=1, loaded_at_sql=LOADED, load_timeout="0s")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (datetime(2026, 3, 1, 12), BEGAN),
        (datetime(2026, 3, 1, 13, tzinfo=timezone(HOUR)), BEGAN),
        (date(2026, 3, 1), BEGAN - 12 * HOUR),
        ("2026-03-01 12:00", BEGAN),
        ("2026-03-01T13:00:00+01:00", BEGAN),
    ],
)
def test_a_load_time_is_read_as_the_driver_gives_it(value: object, expected: datetime | None) -> None:
    assert load_time([(value,)]) == expected


@pytest.mark.parametrize(
    ("value", "has_zone"),
    [
        (datetime(2026, 3, 1, 12), False),
        ("2026-03-01 12:00", False),
        (date(2026, 3, 1), False),
        (datetime(2026, 3, 1, 12, tzinfo=timezone.utc), True),
        ("2026-03-01T12:00:00Z", True),
        (None, True),
    ],
)
def test_a_load_time_without_a_zone_is_a_warning_that_names_the_field(
    value: object, has_zone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    load_time([(value,)])
    assert ("loaded_at_sql" not in caplog.text) is has_zone


@pytest.mark.parametrize("rows", [[("yesterday",)], [(5,)], [(BEGAN,), (BEGAN,)]])
def test_what_is_no_load_time_is_an_error(rows: list[tuple[object]]) -> None:
    with pytest.raises(ValueError, match="loaded_at_sql expected"):
        load_time(rows)


class LateWarehouse:
    """A warehouse whose hours are loaded 0 to 12 hours late, in order."""

    def __init__(self, dice: random.Random) -> None:
        self.now = BEGAN
        self.queries = 0
        lateness = dice.choice([0, 1, 12]) * HOUR
        self._loads = [BEGAN + hour * HOUR + dice.random() * lateness for hour in range(200)]

    def complete_up_to(self, at: datetime) -> datetime | None:
        """Return the time up to which all hours are loaded. Hour ``n`` ends at ``BEGAN + n hours``."""
        done = 0
        while done < len(self._loads) and self._loads[done] <= at:
            done += 1
        return BEGAN + (done - 1) * HOUR if done else None

    def get_records(self, query: str) -> Sequence[Sequence[object]]:
        if query == LOADED:
            return [(self.complete_up_to(self.now),)]
        self.queries += 1
        return [(0.0, 100)]

    last_description = ()


@pytest.mark.parametrize("seed", range(20 if not os.environ.get("AMPEXP_PROOF_EXAMPLES") else 200))
def test_no_rollout_goes_on_without_its_data_and_each_goes_on_soon_after_them(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        dice = random.Random(f"{seed}/{number}")
        late = LateWarehouse(dice)
        monkeypatch.setattr(warehouses, "sql_hook", lambda conn_id, late=late: late)
        _roll_out(late, dice)


def _roll_out(late: LateWarehouse, dice: random.Random) -> None:
    guardrail = SqlGuardrail(
        "warehouse", WHOLE, name="errors", no_data="hold", at_most=0.02, loaded_at_sql=LOADED, load_timeout="13h"
    )
    every = dice.choice([None, "20m"])
    plan = RolloutPlan([1, 10, 100], soak=dice.choice(["1h", "5h"]), guardrails=[guardrail], check_every=every)
    seen = FlagSnapshot(Exposure(0, False), history=(VersionEntry(1, BEGAN, "", Exposure(0, False)),))
    state, began, raises = RolloutState(), BEGAN, 0
    while not isinstance(action := decide(plan, seen, state, late.now), Complete):
        state = state.after_observation(plan, seen, late.now)
        if isinstance(action, Wait):
            late.now = action.until
        elif isinstance(action, RunGuardrails):
            ends = began + timedelta(seconds=state.owed_soak or 0)
            at = CheckContext("flag", seen.exposure.percentage, began, late.now, soak_ends_at=ends)
            result = guardrail.check(at)
            assert result.verdict == ("pass" if _covers(late, ends) else "inconclusive")
            status = GuardrailStatus(guardrail.name, guardrail.consequence).with_result(
                result.verdict, result.why, result.value, late.now, result.effect
            )
            state = state.after_checks([status], late.now)
        else:
            assert isinstance(action, SetStage)
            if seen.exposure.enabled:
                ends = began + plan.all_stages[0].soak
                assert _covers(late, ends)
                assert not _covers(late, ends, late.now - plan.recheck) or late.now <= ends + plan.recheck
                raises += 1
            before_it, after = seen.exposure, Exposure(action.stage.percentage, True)
            entry = VersionEntry(seen.newest_version + 1, late.now, "", after)
            seen = replace(seen, exposure=after, history=(entry, *seen.history))
            state, began = state.after_set_stage(before_it, late.now, after, seen, late.now), late.now
    assert raises == 2
    assert late.queries == 2  # one for each soak, because the data were not complete at the other checks


def _covers(late: LateWarehouse, ends: datetime, at: datetime | None = None) -> bool:
    complete = late.complete_up_to(at or late.now)
    return complete is not None and complete >= ends
