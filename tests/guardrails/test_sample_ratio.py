"""The sample ratio test: the formula, its false alarms and its power, and the guardrail on a SQLite database."""

from __future__ import annotations

import copy
import math
import pickle
import random
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moments import moment
from sqlite_warehouse import Warehouse

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import CheckResult, SampleRatioGuardrail, run_checks
from airflow_provider_ampexp.guardrails._multinomial import log_bayes_factor, p_value

GUIDE = Path(__file__).parents[2] / "docs" / "guardrails.md"
COUNTS = "select variant, users from exposures"


# the test itself


def test_the_bayes_factor_is_a_martingale():
    """One more user changes the Bayes factor, but not its expectation if the expected shares are true."""
    shares, counts = [0.5, 0.3, 0.2], [7, 1, 12]
    now = math.exp(log_bayes_factor(counts, shares))
    after = [math.exp(log_bayes_factor([x + (i == j) for j, x in enumerate(counts)], shares)) for i in range(3)]
    assert math.isclose(sum(share * probability for share, probability in zip(shares, after, strict=True)), now)
    assert log_bayes_factor([0, 0, 0], shares) == pytest.approx(0)


def test_the_bayes_factor_against_one_worked_out_by_hand():
    # With a concentration of 2 and 50/50 the prior is flat. So each split of n users has the probability 1 / (n + 1),
    # and all its orders have the same: 1 / (n + 1) / C(n, x) against 0.5 ** n.
    by_hand = 1 / 11 / math.comb(10, 8) / 0.5**10
    assert math.exp(log_bayes_factor([8, 2], [0.5, 0.5], concentration=2)) == pytest.approx(by_hand)


def looks(rng: random.Random, shares: list[float], *, users: int, every: int) -> Iterator[list[int]]:
    counts = [0] * len(shares)
    for _ in range(users // every):
        for choice in rng.choices(range(len(shares)), shares, k=every):
            counts[choice] += 1
        yield counts


def smallest_p(true: list[float], expected: list[float], *, runs: int, users: int, test: Any = p_value) -> list[float]:
    """Return the smallest p of all looks, for each of a number of experiments."""
    rng = random.Random(2011_03567)
    return [min(test(counts, expected) for counts in looks(rng, true, users=users, every=10)) for _ in range(runs)]


def share_below(alpha: float, found: list[float]) -> float:
    return sum(p <= alpha for p in found) / len(found)


def chi_square_p(counts: list[int], shares: list[float]) -> float:
    """Return the p-value of the usual test of two counts, which is valid for one look."""
    n = sum(counts)
    statistic = sum((x - n * s) ** 2 / (n * s) for x, s in zip(counts, shares, strict=True))
    return math.erfc(math.sqrt(statistic / 2))


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.5, 0.25, 0.25]])
def test_looked_at_again_and_again_its_false_alarms_stay_below_alpha(shares: list[float]):
    found = smallest_p(shares, shares, runs=1500, users=1000)
    assert share_below(0.01, found) <= 0.01
    assert share_below(0.05, found) <= 0.05
    assert share_below(0.05, found) > 0.005  # the test does reject sometimes


def test_the_usual_test_looked_at_again_and_again_does_not():
    # The usual test shows that the simulation above can fail.
    assert share_below(0.01, smallest_p([0.5, 0.5], [0.5, 0.5], runs=300, users=1000, test=chi_square_p)) > 0.03


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_looked_at_after_each_user_its_false_alarms_stay_below_alpha_exactly(share: float):
    """Without a simulation: compute, user by user, the probability of each count that was not yet rejected."""
    alpha, rejected, going_on = 0.05, 0.0, {0: 1.0}
    for users in range(1, 401):
        reached: dict[int, float] = {}
        for count, probability in going_on.items():
            reached[count + 1] = reached.get(count + 1, 0) + probability * share
            reached[count] = reached.get(count, 0) + probability * (1 - share)
        alarms = {treated for treated in reached if p_value([treated, users - treated], [share, 1 - share]) <= alpha}
        rejected += sum(reached[alarm] for alarm in alarms)
        going_on = {treated: probability for treated, probability in reached.items() if treated not in alarms}
    assert 0.001 < rejected <= alpha


@pytest.mark.parametrize(
    ("true", "expected", "users"),
    [([0.6, 0.4], [0.5, 0.5], 1000), ([0.0, 1.0], [0.5, 0.5], 40), ([0.8, 0.2], [0.9, 0.1], 1000)],
)
def test_a_wrong_split_is_found(true: list[float], expected: list[float], users: int):
    assert share_below(0.01, smallest_p(true, expected, runs=100, users=users)) >= 0.95


@pytest.mark.parametrize(("share", "users"), re.findall(r"^\| (\d+)/\d+ \| ([\d,]+) \|$", GUIDE.read_text(), re.M)[:3])
def test_half_of_the_wrong_splits_are_found_after_as_many_users_as_the_guide_says(share: str, users: str):
    rng, true = random.Random(2011_03567), int(share) / 100
    found = []
    for _ in range(500):
        on_end = looks(rng, [true, 1 - true], users=20_000, every=1)
        found.append(next(sum(counts) for counts in on_end if p_value(counts, [0.5, 0.5]) <= 0.01))
    assert statistics.median(found) == pytest.approx(int(users.replace(",", "")), rel=0.1)


def test_millions_of_users_are_no_trouble():
    assert p_value([5_000_000, 5_000_000], [0.5, 0.5]) == 1
    assert p_value([5_100_000, 4_900_000], [0.5, 0.5]) == pytest.approx(0, abs=1e-300)


# the guardrail


def guardrail(sql: str = COUNTS, **changed: Any) -> SampleRatioGuardrail:
    return SampleRatioGuardrail("warehouse", sql, **{"no_data": "hold", **changed})


def answer(sql: str = COUNTS, weights: dict[str, float] | None = None, hours: float = 1, **changed: Any) -> CheckResult:
    at = moment(hours) if weights is None else moment(hours, weights=weights)
    return run_checks([guardrail(sql, **changed)], at)[0][1]


def test_a_right_split_passes(warehouse: Warehouse):
    warehouse.exposures(control=503, treatment=497)
    said = answer()
    assert (said.verdict, said.value) == ("pass", 1)
    assert said.why == (
        "the exposures match the weights: 'control' 503 (expected 500.0), 'treatment' 497 (expected 500.0)"
    )


def test_a_wrong_split_fails(warehouse: Warehouse):
    warehouse.exposures(control=600, treatment=400)
    said = answer()
    assert said.verdict == "fail"
    assert said.value is not None
    assert said.value <= 0.01
    assert said.why == (
        "the exposures do not match the weights: 'control' 600 (expected 500.0), 'treatment' 400 (expected 500.0)"
    )


def test_the_weights_say_which_split_is_right(warehouse: Warehouse):
    warehouse.exposures(control=600, treatment=400)
    assert answer(weights={"control": 3, "treatment": 2}).verdict == "pass"


def test_alpha_says_how_sure_it_is(warehouse: Warehouse):
    warehouse.exposures(control=58, treatment=26)
    p = answer().value
    assert p is not None
    assert answer(alpha=p * 1.01).verdict == "fail"
    assert answer(alpha=p * 0.99).verdict == "pass"


@pytest.mark.parametrize(
    ("control", "treatment", "verdict"),
    [(8, 8, "pass"), (8, 7, "inconclusive"), (1, 1, "inconclusive"), (50, 0, "fail")],
)
def test_it_is_not_judged_before_eight_of_each_are_to_be_expected(
    warehouse: Warehouse, control: int, treatment: int, verdict: str
):
    warehouse.exposures(control=control, treatment=treatment)
    assert answer().verdict == verdict


def test_the_variant_with_the_smallest_weight_is_to_be_expected_eight_times_too(warehouse: Warehouse):
    weights: dict[str, float] = {"control": 90, "treatment": 10}
    warehouse.exposures(control=71, treatment=8)
    assert answer(weights=weights).verdict == "inconclusive"
    warehouse.exposures(control=72, treatment=8)
    assert answer(weights=weights).verdict == "pass"


def test_a_variant_that_nobody_gets_is_found_though_the_query_leaves_it_out(warehouse: Warehouse):
    warehouse.exposures(control=50)
    assert answer().verdict == "fail"


def test_too_few_do_not_count_within_the_grace(warehouse: Warehouse):
    warehouse.exposures(control=3, treatment=3)
    assert answer(no_data_grace="2h").effect == "wait"
    assert answer(no_data_grace="2h", hours=3).effect is None


@pytest.mark.parametrize("users", [{}, {"control": 0, "treatment": 0}])
@pytest.mark.parametrize(("no_data", "verdict"), [("rollback", "fail"), ("hold", "fail"), ("pass", "pass")])
def test_no_exposures_are_what_the_plan_says(warehouse: Warehouse, users: Any, no_data: str, verdict: str):
    warehouse.exposures(**users)
    assert answer(no_data=no_data).verdict == verdict
    assert answer(no_data=no_data, no_data_grace="2h").effect == "wait"


def test_a_variant_of_weight_0_with_exposures_fails_and_is_named(warehouse: Warehouse):
    weights = {"control": 50, "treatment": 50, "paused": 0}
    warehouse.exposures(control=50, treatment=50, paused=0)
    assert answer(weights=weights).verdict == "pass"
    warehouse.exposures(control=50, treatment=50, paused=2)
    assert answer(weights=weights) == CheckResult(
        "fail", "variants with a weight of 0 have exposures: 'paused' has 2", 0
    )


def test_a_variant_that_the_flag_does_not_have_is_an_error_that_names_it(warehouse: Warehouse):
    warehouse.exposures(control=50, treatment=50, off=3)
    assert answer() == CheckResult(
        "error", "ValueError: expected variants of the flag ('control', 'treatment'), got 'off'"
    )


@pytest.mark.parametrize("weights", [{}, {"on": 1}, {"control": 0, "treatment": 1}, {"control": 0, "treatment": 0}])
def test_without_two_variants_there_is_no_split(warehouse: Warehouse, weights: dict[str, float]):
    assert "two variants" in answer(weights=weights).why


@pytest.mark.parametrize(
    "sql",
    ["select 'control'", "select null, 5", "select 'control', 'many'", "select 'control', -1", "select 'control', 1.5"],
)
def test_what_are_no_counts_is_an_error(warehouse: Warehouse, sql: str):
    assert answer(sql).verdict == "error"


def test_rows_of_one_variant_are_added(warehouse: Warehouse):
    warehouse.exposures(control=30, treatment=50)
    warehouse.run("insert into exposures values ('control', 20)")
    assert "'control' 50 (" in answer().why


def test_the_query_is_a_template(warehouse: Warehouse):
    warehouse.exposures(control=50, treatment=50)
    assert answer(f"{COUNTS} where {{{{ flag_key }}}} = 'new-checkout'").verdict == "pass"
    assert answer(f"{COUNTS} where {{{{ flag_key }}}} = 'another'").why == "the query has no exposures"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"alpha": 5}, "alpha"),
        ({"min_per_variant": 0}, "min_per_variant"),
        ({"min_per_variant": 2.5}, "min_per_variant"),
        ({"no_data": None}, "no_data"),
        ({"sql": "select '{{ flag_key }}'"}, "sql"),
        ({"error_limit": 0}, "error_limit"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong: dict[str, Any], field: str):
    with pytest.raises(InvalidInputError) as refused:
        guardrail(**wrong)
    assert refused.value.field == field


def test_it_can_be_copied_and_pickled(warehouse: Warehouse):
    one = guardrail(dry_run=True)
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert (one.name, one.consequence.dry_run) == ("sample ratio", True)
