"""The sequential test of two means: its formula, its false alarms and its power, by simulation."""

from __future__ import annotations

import math
import random
import statistics
from itertools import accumulate

import pytest
from simulated import DETECT, METRICS, STAGES, population, sequential, stage, t_test

from airflow_provider_ampexp.guardrails._sequential import Moments, deviations_needed, lift, smallest_harm

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
    """The mixture's likelihood ratio, by summing over the half-normal prior."""
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
    needed = deviations_needed(error, alpha=alpha, detect=DETECT)
    assert likelihood_ratio(needed, error, DETECT) == pytest.approx(1 / alpha, rel=1e-3)


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
    """A small group of users who by chance spent alike has no variance of its own."""
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


# false alarms and power

ALPHA = 0.05
"""Larger than the guardrail's, so that a few hundred rollouts show a test with too many false alarms."""


@pytest.mark.parametrize("metric", METRICS)
def test_looked_at_24_times_its_false_alarms_stay_below_alpha(metric: str):
    users = population(metric)
    rng, rollouts = random.Random(1512_04922), 150
    lower = higher = fooled = 0
    for share in STAGES * rollouts:
        looks = list(stage(rng, users, users, share, users=4800))
        bounds = [found for look in looks if (found := sequential(*look, ALPHA))]
        lower += any(found.high < 0 for found in bounds)
        higher += any(found.low > 0 for found in bounds)
        fooled += any(abs(t_test(*look)) > 1.96 for look in looks)
    stages = len(STAGES) * rollouts
    assert lower / stages <= ALPHA
    assert higher / stages <= ALPHA
    assert fooled / stages > 4 * ALPHA  # the usual test for one look at 0.05: the simulation shows a wrong test


@pytest.mark.parametrize(("share", "power"), [(0.05, 0.41), (0.25, 0.998)])
def test_five_percent_fewer_conversions_among_200_000_users_are_found(share: float, power: float):
    """From the exact counts: their distribution is normal to four digits at this size."""
    rng, rate, found = random.Random(200_000), 0.3, 0
    for _ in range(4000):
        treated = _converted(rng, round(200_000 * share), rate * 0.95)
        result = sequential(treated, _converted(rng, round(200_000 * (1 - share)), rate), 0.009)
        found += result is not None and result.high < 0
    assert found / 4000 == pytest.approx(power, abs=0.03)


@pytest.mark.parametrize(("share", "users"), [(0.05, 200_000), (0.25, 200_000), (0.25, 20_000), (0.5, 5_000)])
def test_the_smallest_harm_is_found_with_its_probability(share: float, users: int):
    rng, rate, found = random.Random(users), 0.3, 0
    variation = math.sqrt((1 - rate) / rate)
    harm = smallest_harm(users, share, variation, alpha=0.009, detect=DETECT, probability=0.8)
    assert harm is not None
    for _ in range(2000):
        treated = _converted(rng, round(users * share), rate * (1 - harm))
        result = sequential(treated, _converted(rng, round(users * (1 - share)), rate), 0.009)
        found += result is not None and result.high < 0
    assert found / 2000 == pytest.approx(0.8, abs=0.06)


def test_without_a_control_no_harm_is_found():
    for users, share in ((100, 0.0), (100, 1.0), (0, 0.5)):
        assert smallest_harm(users, share, 1.0, alpha=0.01, detect=0.05) is None


def _converted(rng: random.Random, users: int, rate: float) -> Moments:
    buyers = round(rng.gauss(users * rate, math.sqrt(users * rate * (1 - rate))))
    share = buyers / users
    return Moments(users, buyers, share, users * share * (1 - share))
