"""The percentage of a target segment or of all other users, and its split among the variants."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

from airflow_provider_ampexp.bucketing._conditions import Row, Unknown, column_of, no_column
from airflow_provider_ampexp.bucketing._hash import Bucketer

POSITIONS = 100
_SPLIT = 42949673  # 2**32 // 100 + 1: the number of values of hash // 100


@dataclass(frozen=True)
class Allocation:
    """The percentage of one target segment or of all other users, and its split among the variants.

    A hash decides two things: ``hash % 100`` is the position, and ``hash // 100`` chooses the variant. A user gets a
    variant if the position is below the percentage. So a raise only adds users.

    :param segment: the name of the target segment; ``None`` for all other users
    :param key: the user property that is hashed, such as ``amplitude_id``
    :param salt: the bucketing salt of the flag
    :param percentage: as it was read; a fraction lets in the same users as the next whole percentage
    :param weights: the variants with their weights, in the order of the flag's variants, without those of weight 0
    """

    segment: str | None
    key: str
    salt: str
    percentage: float
    weights: tuple[tuple[str, float], ...]

    def position(self, value: object) -> int | None:
        """Return the position of a bucketing value, from 0 to 99; ``None`` for a null or an empty value."""
        hashed = self._bucketer.bucket_or_none(value)
        return None if hashed is None else hashed % POSITIONS

    def positions(self, values: Iterable[object]) -> Iterator[int | None]:
        """Yield the position of each bucketing value, in order. Memory use does not grow with their number."""
        hashes = self._bucketer.buckets(values)
        return (None if hashed is None else hashed % POSITIONS for hashed in hashes)

    def variant(self, value: object) -> str | None:
        """Return the variant for a bucketing value; ``None`` if the user gets none."""
        return self._choose(self._bucketer.bucket_or_none(value))

    def variants(self, values: Iterable[object]) -> Iterator[str | None]:
        """Yield the variant for each bucketing value, in order. Memory use does not grow with their number."""
        return map(self._choose, self._bucketer.buckets(values))

    def share_of(self, variants: Collection[str]) -> float:
        """Return the percentage of the users who get one of these variants; ``"off"`` stands for those without one."""
        total, chosen = sum(weight for _, weight in self.weights), dict(self.weights)
        given = self.percentage if total else 0.0
        share = given * sum(chosen.get(variant, 0.0) for variant in set(variants)) / total if total else 0.0
        return share + (100 - given if "off" in variants else 0.0)

    def variant_of(self, row: Row) -> str | Unknown | None:
        """Return the variant for a row; unknown if the row lacks the column that is hashed."""
        column = column_of(row, self.key)
        if column is None and self.percentage > 0 and self.weights and not self._needs_no_value:
            return no_column(self.key)
        return self.variant(None if column is None else row[column])

    @cached_property
    def _choose(self) -> Callable[[int | None], str | None]:
        """Choose the variant for a hash."""
        names = tuple(name for name, _ in self.weights)
        if self._needs_no_value:
            return lambda hashed: names[0]
        # The first value of hash // 100 beyond each variant, calculated without rounding errors.
        sums = list(accumulate(Fraction(weight) for _, weight in self.weights))
        bounds = [math.ceil(_SPLIT * upper / sums[-1]) for upper in sums]
        percentage = self.percentage if names else 0

        def choose(hashed: int | None) -> str | None:
            if hashed is None or hashed % POSITIONS >= percentage:
                return None
            return names[bisect_right(bounds, hashed // POSITIONS)]

        return choose

    @property
    def _needs_no_value(self) -> bool:
        """True at 100 % with one variant: the service buckets no user then, and gives the variant to all users."""
        return self.percentage >= 100 and len(self.weights) == 1

    @cached_property
    def _bucketer(self) -> Bucketer:
        return Bucketer(self.salt)
