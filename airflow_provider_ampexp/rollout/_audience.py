"""The audience: everything except the ramped percentage that decides who gets which variant. Pure.

Any field of a configuration may be missing. A missing field tells nothing: the last known value still counts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_ampexp.client._optional_fields import may_be_for_a_cohort, without_odd_fields
from airflow_provider_ampexp.client.types import FlagConfig, TargetSegment

_STICKY = "stickyBucketing"


@dataclass(frozen=True)
class AudienceFields:
    """What one configuration shows of who gets which variant.

    :param shown: the fields that decide it, in the API's spelling, as they were read
    :param segment: the target segment that is ramped; ``None`` for all users whom no segment captured. The percentage
        that is ramped is not part of the audience.
    """

    shown: Mapping[str, Any] = field(default_factory=dict)
    segment: str | None = None

    @classmethod
    def of(cls, config: FlagConfig, segment: str | None) -> AudienceFields:
        """Take out of a configuration what decides who gets which variant."""
        fields: Mapping[str, Any] = without_odd_fields(config)
        shown = {name: fields[name] for name, kind in _FIELDS.items() if isinstance(fields.get(name), kind.types)}
        # A service may write "none" as null. For these two fields that is a value, and not a missing one.
        shown |= {name: empty for name, empty in _NULLS.items() if name in fields and fields[name] is None}
        if segment is None:
            shown.pop("rolloutPercentage", None)
        return cls(shown, segment)

    def over(self, earlier: AudienceFields) -> AudienceFields:
        """This audience, with an earlier one for the fields that it does not show."""
        return AudienceFields({**earlier.shown, **self.shown}, self.segment)

    @property
    def is_sticky(self) -> bool:
        """Whether users keep the variant that they were bucketed into, at any percentage."""
        return self.shown.get(_STICKY) is True

    @property
    def is_decided_against(self) -> bool:
        """Whether a person decided to roll the experiment back."""
        return str(self.shown.get("decision")).lower() == "rollback"

    def drift_from(self, approved: AudienceFields) -> list[str]:
        """Name each change that lets more users in, or that changes who gets which variant.

        A lower percentage of another segment, and a deployment that was removed, only take users out: neither is drift.
        """
        known = {_STICKY: False, **approved.shown}
        return [
            words
            for name, kind in _FIELDS.items()
            if name in known and name in self.shown
            for words in kind.drift(known[name], self.shown[name], self.segment)
        ]

    def digest(self) -> dict[str, str]:
        """A short text for each field that is shown, to tell later whether the field has changed."""
        return {name: _digest(_FIELDS[name].plain(value, self.segment)) for name, value in self.shown.items()}

    def ways_in(self, catch_all: str | None = None) -> list[str]:
        """Name the ways, other than the ramped percentage, through which users of an enabled flag get the feature.

        :param catch_all: the segment that has no conditions on purpose. Any other that shows none may be for a cohort.
        """
        kept = ["sticky bucketing, which keeps the users who got it before"] if self.is_sticky else []
        return [*kept, *self.others(catch_all)]

    def others(self, catch_all: str | None = None) -> list[str]:
        """Return the ways in through percentages alone: of other segments, and of all other users."""
        found = []
        for segment in _segments(self.shown.get("targetSegments")):
            share = _share(segment.get("percentage"))
            if segment.get("name") != self.segment and share:
                all_users = ", which shows no conditions and may capture all users" if _captures_all(segment) else ""
                found.append(f"segment {segment.get('name')!r} at {share:g} %{all_users}")
            if _captures_all(segment) and segment.get("name") == catch_all:
                return found  # no user reaches the segments after it
        if others := _share(self.shown.get("rolloutPercentage")):
            found.append(f"the percentage of all other users, {others:g} %")
        return found

    def unknown_others(self) -> list[str]:
        """Return the percentages of others that the service does not show. A missing list is not an empty list."""
        missing = [] if "targetSegments" in self.shown else ["the target segments"]
        missing += [
            f"the percentage of segment {segment.get('name')!r}"
            for segment in _segments(self.shown.get("targetSegments"))
            if segment.get("name") != self.segment and segment.get("percentage") is None
        ]
        if self.segment is not None and "rolloutPercentage" not in self.shown:
            missing.append("the percentage of all other users")
        return missing

    def hidden_segments(self, catch_all: str | None) -> list[str]:
        """Name the target segments that may be for a cohort, so that they cannot be sent back as they were read."""
        return [
            repr(segment.get("name"))
            for segment in _segments(self.shown.get("targetSegments"))
            if may_be_for_a_cohort(segment) and (segment.get("conditions") or segment.get("name") != catch_all)
        ]


WITHOUT_OTHERS = AudienceFields({"targetSegments": [], "rolloutPercentage": 0})
"""The audience of a flag that no user gets beside the ramped percentage."""


def changed_fields(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Compare two digests: the fields that both show, and that differ."""
    return [name for name, text in now.items() if name in before and before[name] != text]


# how each field is compared


@dataclass(frozen=True)
class _Field:
    """How a field is read and compared. ``plain`` makes equal what means the same."""

    types: type | tuple[type, ...]
    drift: Callable[[Any, Any, str | None], Iterator[str]]
    plain: Callable[[Any, str | None], object] = lambda value, segment: value


def _text_drift(words: str) -> Callable[[Any, Any, str | None], Iterator[str]]:
    def drift(before: object, after: object, segment: str | None) -> Iterator[str]:
        if before != after:
            yield f"the {words} was changed from {before!r} to {after!r}"

    return drift


def _sticky_drift(before: bool, after: bool, segment: str | None) -> Iterator[str]:
    if after and not before:
        yield "sticky bucketing was enabled, so a lower percentage takes the feature from nobody"


def _variants_drift(before: Sequence[Any], after: Sequence[Any], segment: str | None) -> Iterator[str]:
    """A variant with weight 0 is given to nobody, so a new one changes nothing."""
    was, now = _keys(before), _keys(after)
    for key in was:
        if key not in now:
            yield f"variant {key!r} was removed"
    if [key for key in was if key in now] != [key for key in now if key in was]:
        yield "the order of the variants was changed, which decides who gets which one"


def _weights_drift(
    before: Mapping[str, Any], after: Mapping[str, Any], segment: str | None, of: str = ""
) -> Iterator[str]:
    was, now = _weights(before), _weights(after)
    if was != now:
        changed = [key for key in {**was, **now} if was.get(key, 0) != now.get(key, 0)]
        changes = ", ".join(f"{key!r} from {was.get(key, 0):g} to {now.get(key, 0):g}" for key in changed)
        yield f"the weights{of} were changed: {changes}"


def _dependencies_drift(before: object, after: object, segment: str | None) -> Iterator[str]:
    if before != after:
        yield "the dependencies on other flags were changed"


def _deployments_drift(before: Sequence[Any], after: Sequence[Any], segment: str | None) -> Iterator[str]:
    known = set(map(str, before))
    for deployment in map(str, after):
        if deployment not in known:
            yield f"deployment {deployment} was added"


def _decision_drift(before: object, after: object, segment: str | None) -> Iterator[str]:
    if str(after).lower() == "rollback" and before != after:
        yield "the experiment was decided: rollback"


def _others_drift(before: float, after: float, segment: str | None) -> Iterator[str]:
    if _share(after) > _share(before):
        yield f"the percentage of all other users was raised from {before:g} % to {after:g} %"


def _segments_drift(before: Sequence[Any], after: Sequence[Any], segment: str | None) -> Iterator[str]:
    was, now = _named(before), _named(after)
    if len(was) == len(now):
        # A segment that was renamed, and is the same otherwise, captures the same users.
        was = {
            new if old not in now and _same_but_name(was[old], now[new]) else old: was[old]
            for old, new in zip(was, now, strict=True)
        }
    for name in was:
        if name not in now:
            yield f"segment {name!r} was removed"
    for place, name in enumerate(now):
        if name not in was:
            after_it = [other for other in list(now)[place + 1 :] if other in was]
            where = f" before segment {after_it[0]!r}" if after_it else ""
            all_users = ", which captures all users" if _captures_all(now[name]) else ""
            yield f"a segment {name!r} was added{where}{all_users}"
        else:
            yield from _segment_drift(name, was[name], now[name], segment)
    if [name for name in was if name in now] != [name for name in now if name in was]:
        yield "the order of the segments was changed, which decides which one captures a user"


def _segment_drift(name: str, was: TargetSegment, now: TargetSegment, segment: str | None) -> Iterator[str]:
    if "conditions" in was and "conditions" in now and _conditions(was) != _conditions(now):
        if _captures_all(now):
            yield f"the conditions of segment {name!r} were removed, so it captures all users"
        else:
            yield f"the conditions of segment {name!r} were changed"
    old_key, new_key = was.get("bucketingKey"), now.get("bucketingKey")
    if old_key and new_key and old_key != new_key:
        yield f"the bucketing key of segment {name!r} was changed from {old_key!r} to {new_key!r}"
    old, new = was.get("rolloutWeights"), now.get("rolloutWeights")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _weights_drift(old, new, segment, f" of segment {name!r}")
    old_share, new_share = was.get("percentage"), now.get("percentage")
    is_known = isinstance(old_share, int | float) and isinstance(new_share, int | float)
    if name != segment and is_known and _share(new_share) > _share(old_share):
        yield f"segment {name!r} was raised from {old_share:g} % to {new_share:g} %"


def _plain_segments(value: Sequence[Any], ramped: str | None) -> object:
    return [
        {
            "name": segment.get("name"),
            "conditions": _conditions(segment),
            "bucketingKey": segment.get("bucketingKey"),
            "rolloutWeights": _weights(segment.get("rolloutWeights")),
            "percentage": None if segment.get("name") == ramped else _share(segment.get("percentage")),
        }
        for segment in _segments(value)
    ]


def _named(value: object) -> dict[str, TargetSegment]:
    """The segments by their names, in order; a name that is there twice is numbered."""
    found: dict[str, TargetSegment] = {}
    for place, segment in enumerate(_segments(value), 1):
        name = str(segment.get("name"))
        found[name if name not in found else f"{name} ({place})"] = segment
    return found


def _same_but_name(one: TargetSegment, other: TargetSegment) -> bool:
    return {**one, "name": ""} == {**other, "name": ""}


def _segments(value: object) -> list[TargetSegment]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []  # type: ignore[misc]


def _captures_all(segment: TargetSegment) -> bool:
    return "conditions" in segment and not segment["conditions"]


def _conditions(segment: TargetSegment) -> list[str]:
    """All of them have to hold, so that their order does not matter."""
    return sorted(json.dumps(condition, sort_keys=True, default=str) for condition in segment.get("conditions") or ())


def _weights(value: object) -> dict[str, float]:
    """A variant that is not named has no weight."""
    named = value if isinstance(value, Mapping) else {}
    return {str(key): weight for key, weight in named.items() if isinstance(weight, int | float) and weight > 0}


def _keys(value: Sequence[Any]) -> list[str]:
    return [str(item["key"]) for item in value if isinstance(item, Mapping) and "key" in item]


def _share(value: object) -> float:
    """A percentage. A fraction lets in the same users as the next whole one."""
    return math.ceil(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


_FIELDS: dict[str, _Field] = {
    "targetSegments": _Field(list, _segments_drift, _plain_segments),
    "rolloutPercentage": _Field((int, float), _others_drift, lambda value, segment: _share(value)),
    "variants": _Field(list, _variants_drift, lambda value, segment: _keys(value)),
    "rolloutWeights": _Field(dict, _weights_drift, lambda value, segment: _weights(value)),
    "bucketingKey": _Field(str, _text_drift("bucketing key")),
    "bucketingSalt": _Field(str, _text_drift("salt")),
    "bucketingUnit": _Field(str, _text_drift("bucketing unit")),
    _STICKY: _Field(bool, _sticky_drift),
    "parentDependencies": _Field(dict, _dependencies_drift),
    "deployments": _Field(list, _deployments_drift, lambda value, segment: sorted(map(str, value))),
    "decision": _Field(str, _decision_drift),
}
_NULLS: dict[str, Any] = {"parentDependencies": {}, "decision": ""}
