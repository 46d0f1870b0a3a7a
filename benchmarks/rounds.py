"""Seconds of this machine tell little, and of a loaded one less: contestants take turns, and ratios count."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rounds:
    """Seconds of each contestant, by round. In each round all of them had their turn."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratios(self, name: str, beside: str) -> list[float]:
        """How long it took beside another one, by round."""
        return [one / other for one, other in zip(self.seconds[name], self.seconds[beside], strict=True)]

    def ratio(self, name: str, beside: str) -> float:
        """The median of these."""
        return statistics.median(self.ratios(name, beside))

    def told(self, name: str, beside: str) -> str:
        """The median with the spread: the middle half of the rounds."""
        return f"{self.ratio(name, beside):.2f} x ({spread(self.ratios(name, beside))})"


def spread(values: list[float], digits: int = 2) -> str:
    """Between what the middle half of these lies."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return f"{low:.{digits}f} to {high:.{digits}f}"


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> Rounds:
    """Let each run once a round, the first in turn another one each time. A first round of all is not counted."""
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for one in names:
        contestants[one]()
    for number in range(rounds):
        start = number % len(names)
        for one in names[start:] + names[:start]:
            began = time.perf_counter()
            contestants[one]()
            seconds[one].append(time.perf_counter() - began)
    return Rounds(seconds)
