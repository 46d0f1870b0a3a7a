"""Measure alternatives in turns, and compare ratios, because seconds depend on the machine and its load."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rounds:
    """The seconds of each alternative, by round. Each alternative runs once in a round."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratios(self, name: str, beside: str) -> list[float]:
        """Return the ratio to another alternative, by round."""
        return [mine / other for mine, other in zip(self.seconds[name], self.seconds[beside], strict=True)]

    def ratio(self, name: str, beside: str) -> float:
        """Return the median ratio."""
        return statistics.median(self.ratios(name, beside))

    def told(self, name: str, beside: str) -> str:
        """Return the median ratio with its interquartile range."""
        return f"{self.ratio(name, beside):.2f} x ({spread(self.ratios(name, beside))})"


def spread(values: list[float], digits: int = 2) -> str:
    """Return the interquartile range."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return f"{low:.{digits}f} to {high:.{digits}f}"


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> Rounds:
    """Run each alternative once a round, beginning with another one in each round. A first round is not counted."""
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for item in names:
        contestants[item]()
    for number in range(rounds):
        start = number % len(names)
        for item in names[start:] + names[:start]:
            began = time.perf_counter()
            contestants[item]()
            seconds[item].append(time.perf_counter() - began)
    return Rounds(seconds)
