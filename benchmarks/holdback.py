"""Simulate the holdback guardrail: its false stops, compared with usual checks, its power, and a wrong id."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from functools import cache
from typing import Any, TypeAlias

from airflow_provider_ampexp.bucketing import Audience
from airflow_provider_ampexp.guardrails import CheckContext, HoldbackGuardrail
from airflow_provider_ampexp.guardrails._bands import Bands, Split
from airflow_provider_ampexp.guardrails._holdback import check_exposed
from airflow_provider_ampexp.guardrails._sequential import Moments
from benchmarks.row import Part, Row, page, table
from benchmarks.simulated_rollouts import LOOKS, METRICS, STAGES, Conversion, Population, stage, t_statistic

ROLLOUTS = 10_000  # for each metric
USERS = 24_000  # for each stage
ALPHA = 0.01
POWERS = {0.05: 0.41, 0.25: 0.998}
WRONG_IDS = 100
WORSE = ("lower", "higher")
CONFIG: Any = {
    "key": "new-checkout",
    "enabled": True,
    "bucketingKey": "amplitude_id",
    "bucketingSalt": "mHdQDzeE",
    "variants": [{"key": "on"}],
    "rolloutPercentage": 0,
    "rolloutWeights": {"on": 1},
}
Stops: TypeAlias = "Counter[tuple[str, str, str]]"
"""The number of stops, by the worse side, "stage" or "rollout", and the check."""
_NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@cache
def guardrail(worse: str) -> HoldbackGuardrail:
    """Return the guardrail with its defaults."""
    return HoldbackGuardrail("db", "select 1", name="metric", worse=worse, no_data="hold")  # type: ignore[arg-type]


@cache
def split_at(percentage: int) -> Split:
    """Return the groups of a plain flag."""
    return Split(Audience.of(CONFIG).at(percentage).allocation_of(), percentage)


def stops(worse: str, treated: Moments, control: Moments, share: float) -> set[str]:
    """Return the checks that would stop the rollout at this look: the guardrail, and two usual checks."""
    bands = Bands(split_at(round(100 * share)))
    bands.treated, bands.control = treated, control
    verdict = guardrail(worse).compare(CheckContext("flag", 100 * share, _NOW, _NOW), bands).verdict
    if verdict == "inconclusive":
        return set()
    side = -1 if worse == "lower" else 1
    found = {"guardrail"} if verdict == "fail" else set()
    if side * t_statistic(treated, control) > 1.645:
        found.add("t-test")
    if side * (treated.mean / control.mean - 1) > 0.05:
        found.add("threshold")
    return found


def false_stops(metric: str, rollouts: int, users: int = USERS, population: Population | None = None) -> Stops:
    """Count the stages and rollouts that each check stops, although the feature changes nothing."""
    rng, population = random.Random(metric), population or Population(metric)
    found: Stops = Counter()
    for _ in range(rollouts):
        of_rollout: dict[str, set[str]] = {worse: set() for worse in WORSE}
        for share in STAGES:
            of_stage: dict[str, set[str]] = {worse: set() for worse in WORSE}
            for look in stage(rng, population, population, share, users=users):
                for worse in WORSE:
                    of_stage[worse] |= stops(worse, *look, share)
            for worse in WORSE:
                found.update((worse, "stage", check) for check in of_stage[worse])
                of_rollout[worse] |= of_stage[worse]
        for worse in WORSE:
            found.update((worse, "rollout", check) for check in of_rollout[worse])
    return found


def power(share: float, releases: int, looks: int = 1) -> float:
    """Return the share of releases in which 5 % fewer conversions (of 30 %) among 200,000 users are found."""
    rng, found = random.Random(f"power {share}"), 0
    harmed, control = Conversion(0.3 * 0.95), Conversion(0.3)
    for _ in range(releases):
        seen = stage(rng, harmed, control, share, users=200_000, looks=looks)
        found += any("guardrail" in stops("lower", *look, share) for look in seen)
    return found / releases


def wrong_ids_found(percentage: int, releases: int) -> int:
    """Count the releases in which the query has the wrong id, and the guardrail refuses to compare."""
    rng, found = random.Random(percentage), 0
    for _ in range(releases):
        bands = Bands(split_at(percentage))
        bands.add([(f"{rng.getrandbits(40)}", 1.0, rng.random() < percentage / 100) for _ in range(12_000)])
        try:
            check_exposed(bands)
        except ValueError:
            found += 1
    return found


def measure() -> Part:
    """Run all simulations, in two processes."""
    with ProcessPoolExecutor(2) as processes:
        stopped = list(processes.map(false_stops, METRICS, [ROLLOUTS] * len(METRICS)))
        powers = list(processes.map(power, POWERS, [4000] * len(POWERS)))
        powers_24 = list(processes.map(power, POWERS, [1000] * len(POWERS), [LOOKS] * len(POWERS)))
    return Part("Held-back users", [*_rows(stopped, powers)], [*_notes(stopped, powers, powers_24)])


def _rows(stopped: list[Stops], powers: list[float]) -> Iterator[Row]:
    worst = max(counts[worse, "stage", "guardrail"] for counts in stopped for worse in WORSE) / ROLLOUTS / len(STAGES)
    yield Row(
        f"false stops a stage, {ROLLOUTS:,} harmless rollouts of each metric, {LOOKS} looks a stage",
        "a peeked t-test, a 5 % threshold",
        f"at most {ALPHA:.0%} a stage for each metric and direction",
        f"{worst:.2%} a stage at most",
        worst <= ALPHA,
    )
    for (share, aim), found in zip(POWERS.items(), powers, strict=True):
        yield Row(
            f"5 % fewer conversions among 200,000 users found at {share:.0%}",
            "",
            f"{aim} within 0.03",
            f"{found:.3f}",
            abs(found - aim) <= 0.03,
        )
    for percentage in (1, 5, 25, 50):
        wrong = wrong_ids_found(percentage, WRONG_IDS)
        yield Row(f"a wrong id found at {percentage} %", "", "each time", f"{wrong} of {WRONG_IDS}", wrong == WRONG_IDS)


def _notes(stopped: list[Stops], powers: list[float], powers_24: list[float]) -> Iterator[str]:
    yield (
        f"{ROLLOUTS:,} rollouts of a feature that changes nothing, for each metric: {len(STAGES)} stages of "
        f"{USERS:,} users, {LOOKS} looks each. The table has the rollouts that a check stops, for harm on either side. "
        "The t-test is one-sided at 5 %, at each look. The threshold stops at a difference of 5 %."
    )
    yield table(
        ["metric", "worse is", "held-back guardrail: stages", "rollouts", "t-test: rollouts", "threshold: rollouts"],
        [
            (
                metric,
                worse,
                f"{counts[worse, 'stage', 'guardrail'] / ROLLOUTS / len(STAGES):.2%}",
                *(
                    f"{counts[worse, 'rollout', check] / ROLLOUTS:.1%}"
                    for check in ("guardrail", "t-test", "threshold")
                ),
            )
            for metric, counts in zip(METRICS, stopped, strict=True)
            for worse in WORSE
        ],
    )
    yield "Power, for one look when all users are there, and for 24 looks:"
    yield table(
        ["percentage", "one look", "24 looks"],
        [(f"{share:.0%}", f"{a:.3f}", f"{b:.3f}") for share, a, b in zip(POWERS, powers, powers_24, strict=True)],
    )


if __name__ == "__main__":
    print(page([measure()], "# Held-back users"))
