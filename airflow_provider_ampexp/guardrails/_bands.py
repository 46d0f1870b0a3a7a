"""The users of a rollout in two groups, by the hash that the service uses: with the feature, and held back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from airflow_provider_ampexp.bucketing import Allocation
from airflow_provider_ampexp.guardrails._sequential import Moments
from airflow_provider_ampexp.guardrails._warehouse import Row, as_number


@dataclass(frozen=True)
class Split:
    """The two groups of users: those with the feature, and the control.

    The allocation gives each user a position, which is uniform and does not change with the percentage. A user with a
    position below the percentage has the feature. A user with a position above the highest percentage of the look-back
    did not have the feature in that time. The users between the two had the feature before, and count in neither group.

    :param allocation: the allocation of the flag or the ramped segment, at the present percentage
    :param highest: the highest percentage within the look-back, which includes the present one
    :param variant: the variant that counts as the feature; ``None`` for a flag with one variant
    """

    allocation: Allocation
    highest: float
    variant: str | None = None

    @property
    def shares(self) -> tuple[float, float]:
        """The expected shares of users with the feature and of the control; their sum is 1."""
        weights = dict(self.allocation.weights)
        share = weights[self.variant] / sum(weights.values()) if self.variant is not None else 1.0
        treated, control = ceil(self.allocation.percentage) * share, 100 - ceil(self.highest)
        return treated / (treated + control), control / (treated + control)

    def groups(self, values: Sequence[str]) -> Iterable[int | None]:
        """Yield 1 for a user with the feature, 0 for one of the control, and ``None`` for any other user."""
        percentage, highest = self.allocation.percentage, self.highest
        if self.variant is None:
            for position in self.allocation.positions(values):
                yield 1 if position < percentage else 0 if position >= highest else None  # type: ignore[operator]
        else:
            both = zip(self.allocation.positions(values), self.allocation.variants(values), strict=True)
            for position, variant in both:
                yield 1 if variant == self.variant else 0 if position >= highest else None  # type: ignore[operator]


class Bands:
    """The moments of a metric in both groups, from a stream of rows.

    :param split: the two groups
    :param cap: a metric above it counts as this value
    """

    def __init__(self, split: Split, cap: float | None = None) -> None:
        self.treated = self.control = Moments()
        self.exposed = [0, 0]
        self.split = split
        self._capped: Callable[[float], float] = float if cap is None else lambda value: min(value, cap)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows of a bucketing value, a metric and optionally whether the user was exposed.

        :raises ValueError: when a row is something else
        """
        users = [read_row(row) for row in rows]
        metrics: tuple[list[float], list[float]] = ([], [])
        groups = self.split.groups([value for value, _, _ in users])
        for (_, metric, exposed), group in zip(users, groups, strict=True):
            if group is not None:
                metrics[group].append(self._capped(metric))
                if exposed:
                    self.exposed[group] += 1
        self.control += Moments.of(metrics[0])
        self.treated += Moments.of(metrics[1])


def read_row(row: Row) -> tuple[str, float, bool]:
    """Return the bucketing value, the metric, and whether the user is known to be exposed.

    :raises ValueError: when the row is something else
    """
    if len(row) not in (2, 3):
        raise ValueError(f"expected a bucketing value, a metric and optionally exposed, got a row of {len(row)}")
    value, metric = row[0], row[1]
    if type(value) is not str:
        value = _text(value)
    elif not value:
        raise ValueError("expected a bucketing value, got an empty text")
    number = metric if type(metric) is float and metric - metric == 0 else as_number("the metric", metric)
    return value, number, len(row) == 3 and _flag(row[2])


def _text(value: object) -> str:
    """Return the text of a whole number. The service hashes text, and 1.0 is another text than 1."""
    if hasattr(value, "item"):
        value = value.item()  # some drivers return numpy's numbers
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise ValueError(f"expected a text or a whole number as the bucketing value, got {value!r}")


def _flag(exposed: object) -> bool:
    if exposed is None or exposed in (0, 1):
        return bool(exposed)
    raise ValueError(f"expected true, false, 1, 0 or NULL as exposed, got {exposed!r}")
