"""Simulated rollouts: users arrive, and the two groups are compared at each of many looks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import exp, sqrt

from airflow_provider_ampexp.guardrails._sequential import Lift, Moments, lift

LOOKS = 24
STAGES = (0.05, 0.25, 0.5)
METRICS = ("count", "binary", "revenue", "capped")
CAP = 100.0
DETECT = 0.05

_POOL = 20_000


def population(metric: str, lower_by: float = 0.0) -> Sequence[float]:
    """Return users' values of a metric, with a mean that is lower by a share.

    Orders per user, conversion of 30 %, and the revenue of the one user in ten who buys (log-normal), also capped.
    """
    rng = random.Random(metric)
    if metric == "count":
        orders = [_poisson(rng, 0.4) for _ in range(_POOL)]
        return [float(sum(rng.random() >= lower_by for _ in range(user))) for user in orders]
    if metric == "binary":
        buyers = round(_POOL * 0.3 * (1 - lower_by))
        return [1.0] * buyers + [0.0] * (_POOL - buyers)
    spent = [exp(rng.gauss(3, 1.3)) * (1 - lower_by) if user % 10 == 0 else 0.0 for user in range(_POOL)]
    return [min(one, CAP) for one in spent] if metric == "capped" else spent


def _poisson(rng: random.Random, mean: float) -> int:
    left, found = exp(-mean), 0
    while (left := left / max(rng.random(), 1e-12)) < 1:
        found += 1
    return found


def stage(
    rng: random.Random,
    treated: Sequence[float],
    control: Sequence[float],
    share: float,
    *,
    users: int,
    looks: int = LOOKS,
) -> Iterator[tuple[Moments, Moments]]:
    """Yield the moments of both groups at each look of a stage, at which a share of the users has the feature."""
    with_it, without_it = Moments(), Moments()
    for _ in range(looks):
        arrived = users // looks
        in_it = round(rng.gauss(arrived * share, sqrt(arrived * share * (1 - share))))
        with_it += Moments.of(rng.choices(treated, k=in_it))
        without_it += Moments.of(rng.choices(control, k=arrived - in_it))
        yield with_it, without_it


def sequential(treated: Moments, control: Moments, alpha: float) -> Lift | None:
    """Compare as the guardrail does."""
    return lift(treated, control, alpha=alpha, detect=DETECT)


def t_test(treated: Moments, control: Moments) -> float:
    """Return the t statistic of the usual test, which is for one look."""
    error = sqrt(sum(one.deviations / (one.count - 1) / one.count for one in (treated, control)))
    return (treated.mean - control.mean) / error if error else 0.0
