"""Simulated rollouts: users arrive, and both groups are compared at each of many looks."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from itertools import accumulate
from math import exp, sqrt
from typing import TypeAlias

from airflow_provider_ampexp.guardrails._sequential import Moments

LOOKS = 24
STAGES = (0.05, 0.25, 0.5)
METRICS = ("count", "binary", "revenue", "capped")


class Population:
    """The values of a metric for many users in random order, of which any part is a sample.

    Orders per user (Poisson), conversion of 30 %, and the revenue of the one user in ten who buys (log-normal), also
    capped.

    :param metric: ``"count"``, ``"binary"``, ``"revenue"`` or ``"capped"``
    :param size: the number of users
    """

    def __init__(self, metric: str, size: int = 1_000_000) -> None:
        rng = random.Random(metric)
        values = [_value(metric, rng) for _ in range(size)]
        self._size = size
        # The sums up to each user, so that the moments of a sample do not need its values.
        self._sums = array("d", accumulate(values, initial=0.0))
        self._squares = array("d", accumulate((value * value for value in values), initial=0.0))
        self._nonzero = array("q", accumulate((value != 0 for value in values), initial=0))

    def sample(self, rng: random.Random, users: int) -> Moments:
        """Return the moments of a random sample."""
        if not users:
            return Moments()
        begin = rng.randrange(self._size - users)
        end = begin + users
        total, squares = self._sums[end] - self._sums[begin], self._squares[end] - self._squares[begin]
        mean = total / users
        return Moments(users, self._nonzero[end] - self._nonzero[begin], mean, max(0.0, squares - total * mean))


class Conversion:
    """The conversion of very many users. For some thousand users, their number is normal to four digits."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def sample(self, rng: random.Random, users: int) -> Moments:
        """Return the moments of a random sample."""
        buyers = round(rng.gauss(users * self._rate, sqrt(users * self._rate * (1 - self._rate))))
        share = buyers / users
        return Moments(users, buyers, share, users * share * (1 - share))


def _value(metric: str, rng: random.Random) -> float:
    if metric == "binary":
        return float(rng.random() < 0.3)
    if metric == "count":
        orders, left = 0, rng.expovariate(1)
        while left < 0.4:
            orders, left = orders + 1, left + rng.expovariate(1)
        return float(orders)
    spent = exp(rng.gauss(3, 1.3)) if rng.random() < 0.1 else 0.0
    return min(spent, 100.0) if metric == "capped" else spent


Sampled: TypeAlias = Population | Conversion


def stage(
    rng: random.Random, treated: Sampled, control: Sampled, share: float, *, users: int, looks: int = LOOKS
) -> Iterator[tuple[Moments, Moments]]:
    """Yield the moments of both groups at each look of a stage.

    :param share: the share of the users who have the feature
    """
    with_it, without_it = Moments(), Moments()
    for _ in range(looks):
        arrived = users // looks
        in_it = min(arrived, max(0, round(rng.gauss(arrived * share, sqrt(arrived * share * (1 - share))))))
        with_it += treated.sample(rng, in_it)
        without_it += control.sample(rng, arrived - in_it)
        yield with_it, without_it


def t_statistic(treated: Moments, control: Moments) -> float:
    """Return the t statistic of the usual test, which is valid for one look."""
    if min(treated.count, control.count) < 2:
        return 0.0
    error = sqrt(sum(band.deviations / (band.count - 1) / band.count for band in (treated, control)))
    return (treated.mean - control.mean) / error if error else 0.0
