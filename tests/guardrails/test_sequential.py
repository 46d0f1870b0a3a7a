"""The sequential test of two means: its formula, its false alarms and its power, by simulation."""

from __future__ import annotations

import math
import random
import statistics
from itertools import accumulate

import pytest

from airflow_provider_ampexp.guardrails._sequential import Moments, deviations_needed, lift, smallest_harm
from benchmarks.holdback import USERS, WORSE, false_stops, power
from benchmarks.simulated_rollouts import METRICS, STAGES, Conversion, Population

# moments


def test_moments_are_those_of_the_whole_stream_however_it_is_cut():
    rng = random.Random(1)
    values = [1e9 + rng.gauss(0, 1) for _ in range(1000)]  # sums of squares would lose all digits here
    batches = [values[:1], values[1:1], values[1:700], values[700:]]
    *_, whole = accumulate(map(Moments.of, batches), initial=Moments())
    assert (whole.count, whole.nonzero) == (1000, 1000)
    assert whole.mean == pytest.approx(statistics.fmean(values))
    assert whole.deviations / 999 == pytest.approx(statistics.variance(values), rel=1e-6)


def test_zeros_are_counted():
    assert (Moments.of([0, 0.0, 3, -1]) + Moments.of([0, 1])).nonzero == 3


# the formula


def likelihood_ratio(z: float, error: float, detect: float, steps: int = 20_000) -> float:
    """Return the mixture's likelihood ratio, as a sum over the half-normal prior."""
    width = 10 * detect / steps
    total = 0.0
    for step in range(steps):
        true = (step + 0.5) * width
        prior = 2 * math.exp(-((true / detect) ** 2) / 2) / (detect * math.sqrt(2 * math.pi))
        total += prior * math.exp(true * z / error - true * true / (2 * error * error)) * width
    return total


@pytest.mark.parametrize("error", [0.001, 0.02, 0.3])
@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.1])
def test_the_bound_is_where_the_likelihood_ratio_reaches_one_in_alpha(error: float, alpha: float):
    needed = deviations_needed(error, alpha=alpha, detect=0.05)
    assert likelihood_ratio(needed, error, 0.05) == pytest.approx(1 / alpha, rel=1e-3)


def test_the_lift_is_relative_to_the_control_and_the_bounds_enclose_it():
    treated, control = Moments.of([0.0, 1.0] * 4000 + [0.0] * 1000), Moments.of([0.0, 1.0] * 50_000)
    found = lift(treated, control, alpha=0.01, detect=0.05)
    assert found is not None
    assert found.estimate == pytest.approx(4 / 9 / 0.5 - 1)
    error = 0.5 / 0.5 * math.sqrt(1 / 9000 + 1 / 100_000)  # the standard deviation of a fair coin is its mean
    needed = deviations_needed(error, alpha=0.01, detect=0.05)
    assert found.estimate - found.low == pytest.approx(needed * error, rel=0.01)
    assert found.high - found.estimate == pytest.approx(needed * error, rel=0.01)


def test_the_variance_is_that_of_all_users():
    """A small group of users who spent the same by chance has no variance of its own."""
    many = Moments.of([0.0] * 900 + [100.0] * 100)
    for treated, control in ((Moments.of([0.0] * 5), many), (many, Moments.of([30.0] * 5))):
        found = lift(treated, control, alpha=0.01, detect=0.05)
        assert found is not None
        assert found.low < found.estimate < 0 < found.high


def test_without_variance_there_is_no_answer():
    assert lift(Moments.of([2.0] * 5), Moments.of([2.0] * 9), alpha=0.01, detect=0.05) is None


@pytest.mark.parametrize(
    ("treated", "control", "cause"),
    [([], [1.0], "empty group"), ([1.0], [], "empty group"), ([1.0], [0.0], "above 0"), ([1.0], [-1.0], "above 0")],
)
def test_what_has_no_relative_difference_is_refused(treated: list[float], control: list[float], cause: str):
    with pytest.raises(ValueError, match=cause):
        lift(Moments.of(treated), Moments.of(control), alpha=0.01, detect=0.05)


# false stops and power


@pytest.mark.parametrize("metric", METRICS)
def test_looked_at_24_times_its_false_stops_stay_within_alpha(metric: str):
    """`make bench-statistics` repeats this with 10,000 rollouts. The usual test shows that the simulation can fail."""
    rollouts = 150
    found = false_stops(metric, rollouts, USERS // 4, Population(metric, 200_000))
    for worse in WORSE:
        assert found[worse, "stage", "guardrail"] <= 0.01 * rollouts * len(STAGES)
        assert found[worse, "stage", "t-test"] > 0.05 * rollouts * len(STAGES)


@pytest.mark.parametrize(("share", "expected"), [(0.05, 0.41), (0.25, 0.998)])
def test_five_percent_fewer_conversions_among_200_000_users_are_found(share: float, expected: float):
    assert power(share, 2000) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("share", "users"), [(0.05, 200_000), (0.25, 200_000), (0.25, 20_000), (0.5, 5_000)])
def test_the_smallest_harm_is_found_with_its_probability(share: float, users: int):
    rng, rate, found = random.Random(users), 0.3, 0
    variation = math.sqrt((1 - rate) / rate)
    harm = smallest_harm(users, share, variation, alpha=0.009, detect=0.05, probability=0.8)
    assert harm is not None
    for _ in range(2000):
        treated = Conversion(rate * (1 - harm)).sample(rng, round(users * share))
        control = Conversion(rate).sample(rng, round(users * (1 - share)))
        result = lift(treated, control, alpha=0.009, detect=0.05)
        found += result is not None and result.high < 0
    assert found / 2000 == pytest.approx(0.8, abs=0.06)


def test_without_a_control_no_harm_is_found():
    for users, share in ((100, 0.0), (100, 1.0), (0, 0.5)):
        assert smallest_harm(users, share, 1.0, alpha=0.01, detect=0.05) is None
