"""Evaluate a flag or an experiment: find the variant of each user from the configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from airflow_provider_ampexp.bucketing._allocation import Allocation
from airflow_provider_ampexp.bucketing._conditions import Row, Unknown, column_of, matches, no_column
from airflow_provider_ampexp.client._optional_fields import is_archived, segments_of, without_odd_fields
from airflow_provider_ampexp.client.types import FlagConfig, TargetSegment

_IDS = ("user_id", "device_id")


@dataclass(frozen=True)
class Audience:
    """The users of one flag or experiment, and the variant of each user.

    A row is a user: each property that the configuration uses is a column of the same name. A property ``gp:plan`` is
    read from the column ``gp:plan``, or from ``plan`` if there is none.

    :param config: the configuration, as the client returns it
    :param inclusions: the inclusions of each variant, as the client returns them; a configuration does not show them
    :param parents: the audiences of the flags that this flag depends on, by id
    :param catch_all: the name of a segment without conditions on purpose. Any other such segment may be for a cohort.
    """

    config: FlagConfig
    inclusions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    parents: Mapping[str, Audience] = field(default_factory=dict)
    catch_all: str | None = None

    @classmethod
    def of(
        cls,
        config: FlagConfig,
        *,
        inclusions: Mapping[str, Iterable[str]] | None = None,
        parents: Mapping[str, Audience] | None = None,
        catch_all: str | None = None,
    ) -> Audience:
        """Create the audience of a configuration. See the class for the parameters."""
        members = {variant: frozenset(map(str, ids)) for variant, ids in (inclusions or {}).items()}
        return cls(
            without_odd_fields(config), {key: ids for key, ids in members.items() if ids}, parents or {}, catch_all
        )

    @property
    def is_enabled(self) -> bool | None:
        """Whether the flag is enabled and not archived; ``None`` if the configuration does not show it."""
        return False if is_archived(self.config) else self.config.get("enabled")

    @property
    def is_sticky(self) -> bool:
        """Whether users keep the variant that they were bucketed into, at any percentage."""
        return self.config.get("stickyBucketing", False)

    @property
    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """The variants of other flags that this flag depends on, by flag id."""
        flags = self._parent_dependencies.get("flags") or {}
        return {str(id): tuple(map(str, variants or ())) for id, variants in flags.items()}

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The names of the target segments, in the order of evaluation."""
        return tuple(str(segment.get("name")) for segment in self._segments)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row that an evaluation may read, without the columns for other flags."""
        props = [*(_IDS if self.inclusions else ())]
        for segment in self._segments:
            props += [str(condition.get("prop")) for condition in segment.get("conditions") or ()]
        props += [
            allocation.key for allocation in (*self._allocations, self._others) if isinstance(allocation, Allocation)
        ]
        return tuple(dict.fromkeys(props))

    def at(self, percentage: float, segment: str | None = None) -> Audience:
        """Return the same audience at another percentage, of a target segment or of all other users."""
        if not 0 <= percentage <= 100:
            raise ValueError(f"percentage: expected a number from 0 to 100, got {percentage!r}")
        if segment is None:
            return replace(self, config={**self.config, "rolloutPercentage": percentage})
        segments = [*self._segments]
        place = self._place(segment)
        segments[place] = {**segments[place], "percentage": percentage}
        return replace(self, config={**self.config, "targetSegments": segments})

    def allocation_of(self, segment: str | None = None) -> Allocation:
        """Return the allocation of a target segment or of all other users; ``ValueError`` if it is not known."""
        found = self._others if segment is None else self._allocations[self._place(segment)]
        if isinstance(found, Unknown):
            raise ValueError(found.reason)
        return found

    def largest_share(self, variants: Collection[str]) -> float | None:
        """Return the largest percentage of users that a target segment or all other users get of these variants.

        ``"off"`` stands for no variant. Inclusions and other flags do not count. ``None`` if the percentage is not
        known: a field is missing, or sticky bucketing keeps users in.
        """
        if self.is_enabled is False:
            return 100.0 if "off" in variants else 0.0
        known = [found for found in (*self._allocations, self._others) if isinstance(found, Allocation)]
        if self.is_enabled is None or self.is_sticky or len(known) <= len(self.segments):
            return None
        return max(allocation.share_of(variants) for allocation in known)

    def allocation(self, row: Row, segment: str | None = None) -> int | None:
        """Return a row's position in an allocation, from 0 to 99; ``None`` for a null or an empty bucketing value."""
        allocation = self.allocation_of(segment)
        column = column_of(row, allocation.key)
        if column is None:
            raise ValueError(no_column(allocation.key).reason)
        return allocation.position(row[column])

    def evaluate(self, row: Row) -> str | Unknown | None:
        """Return the key of the variant that a user gets, ``None`` for no variant, or unknown with the reason.

        The order is the vendor's: enabled, dependencies, inclusions, sticky bucketing, target segments, other users.
        """
        enabled = self.is_enabled
        met = enabled and self._meets_dependencies(row)
        if met is False:
            return None
        answer = self._included_or_bucketed(row)
        if enabled is None:
            met = Unknown("the configuration does not show whether the flag is enabled")
        return met if isinstance(met, Unknown) and answer is not None else answer

    # the steps of an evaluation

    def _meets_dependencies(self, row: Row) -> bool | Unknown:
        operator = self._parent_dependencies.get("operator", "all")
        found = [self._meets(id, variants, row) for id, variants in self.dependencies.items()]
        if found and operator not in ("all", "any"):
            return Unknown(f"the operator {operator!r} of the dependencies is not supported")
        decisive = found != [] and operator == "any"
        if decisive in found:
            return decisive
        return next((result for result in found if isinstance(result, Unknown)), not decisive)

    def _meets(self, flag_id: str, variants: Sequence[str], row: Row) -> bool | Unknown:
        if flag_id not in self.parents or not variants:
            return Unknown(f"the flag depends on flag {flag_id}")
        variant = self.parents[flag_id].evaluate(row)
        return variant if isinstance(variant, Unknown) else (variant or "off") in variants

    def _included_or_bucketed(self, row: Row) -> str | Unknown | None:
        if self.inclusions:
            for column in _IDS:
                if column not in row:
                    return Unknown(f"{no_column(column).reason}, and the flag has inclusions")
            ids = {str(row[column]) for column in _IDS if row[column] is not None}
            for variant in self._variants or self.inclusions:
                if not ids.isdisjoint(self.inclusions.get(variant, ())):
                    return variant
        if self.is_sticky:
            return Unknown("sticky bucketing keeps users in the variant that they got before")
        if "targetSegments" not in self.config:
            return Unknown("the flag does not show: targetSegments")
        return self._bucketed(row, 0)

    def _bucketed(self, row: Row, place: int) -> str | Unknown | None:
        """Evaluate the target segments from a place on, and then all other users."""
        if place == len(self.segments):
            return self._variant(self._others, row)
        is_match = self._matches_segment(place, row)
        if is_match is False:
            return self._bucketed(row, place + 1)
        answer = self._variant(self._allocations[place], row)
        if isinstance(is_match, Unknown) and answer != self._bucketed(row, place + 1):
            return is_match
        return answer

    def _matches_segment(self, place: int, row: Row) -> bool | Unknown:
        segment = self._segments[place]
        conditions = segment.get("conditions")
        if not conditions and segment.get("name") != self.catch_all:
            return Unknown(f"segment {segment.get('name')!r} shows no conditions and may be for a cohort")
        found = [matches(condition, row) for condition in conditions or ()]
        return False not in found and next((result for result in found if isinstance(result, Unknown)), True)

    @staticmethod
    def _variant(allocation: Allocation | Unknown, row: Row) -> str | Unknown | None:
        return allocation if isinstance(allocation, Unknown) else allocation.variant_of(row)

    # what the configuration shows

    @property
    def _parent_dependencies(self) -> Mapping[str, Any]:
        return self.config.get("parentDependencies") or {}

    @cached_property
    def _variants(self) -> tuple[str, ...]:
        return tuple(variant["key"] for variant in self.config.get("variants", ()))

    @cached_property
    def _segments(self) -> list[TargetSegment]:
        return segments_of(self.config)

    @cached_property
    def _others(self) -> Allocation | Unknown:
        return self._allocation(None, "rolloutPercentage", self.config)

    @cached_property
    def _allocations(self) -> tuple[Allocation | Unknown, ...]:
        return tuple(self._allocation(str(segment.get("name")), "percentage", segment) for segment in self._segments)

    def _allocation(self, segment: str | None, percentage_field: str, shown: Mapping[str, Any]) -> Allocation | Unknown:
        of = "the flag" if segment is None else f"segment {segment!r}"
        key = shown.get("bucketingKey") or self.config.get("bucketingKey")
        salt, unit = self.config.get("bucketingSalt"), self.config.get("bucketingUnit") or "User"
        percentage, weights = shown.get(percentage_field), shown.get("rolloutWeights")
        if weights is not None and None in weights.values():
            weights = None
        if unit.casefold() != "user":
            return Unknown(f"the flag buckets groups of type {unit!r}, not users")
        if not key or salt is None or percentage is None or weights is None or not self._variants:
            values = {"bucketingKey": key or None, "bucketingSalt": salt, percentage_field: percentage}
            values |= {"rolloutWeights": weights, "variants": self._variants or None}
            missing = ", ".join(name for name, value in values.items() if value is None)
            return Unknown(f"{of} does not show: {missing}")
        shares = tuple((variant, weights[variant]) for variant in self._variants if weights.get(variant, 0) > 0)
        return Allocation(segment, key, salt, percentage, shares)

    def _place(self, segment: str) -> int:
        if segment not in self.segments:
            raise ValueError(f"segment: expected one of {list(self.segments)}, got {segment!r}")
        return self.segments.index(segment)
