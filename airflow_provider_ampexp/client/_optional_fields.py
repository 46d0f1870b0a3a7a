"""Read fields of a response that may be missing, null or of a wrong type. A value of a wrong type counts as missing.

All readers of a flag use these fields. So the client drops invalid values when a response arrives, and later code needs
no type checks. Unknown fields stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from sys import float_info
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from airflow_provider_ampexp.client.types import Deployment, FlagConfig, TargetSegment, VariantFields


def without_odd_fields(config: Mapping[str, Any]) -> FlagConfig:
    """Return a flag or an experiment without the known fields of a wrong type.

    A list with one invalid item is dropped as a whole: a write without that item would remove the item. A null weight,
    and null variants of a dependency, stay: their value is unknown, and the rest of the list is known.
    """
    return cast("FlagConfig", _kept(config, _OF_FLAG))


def variant_without_odd_fields(variant: Mapping[str, Any]) -> VariantFields:
    """Return a variant without the known fields of a wrong type."""
    return cast("VariantFields", _kept(variant, _OF_VARIANT))


def deployment_without_odd_fields(deployment: Mapping[str, Any]) -> Deployment:
    """Return a deployment without the known fields of a wrong type."""
    return cast("Deployment", _kept(deployment, _OF_DEPLOYMENT))


def version_number(version: Mapping[str, Any]) -> int:
    """Return the number of a version; 0 if it has none."""
    number = version.get("version")
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 19:
        return int(number)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def config_of(version: Mapping[str, Any]) -> FlagConfig:
    """Return the configuration of a version, without invalid fields; empty if it has none."""
    config = version.get("flagConfig")
    return without_odd_fields(config) if isinstance(config, Mapping) else {}


def tags_of(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the tags; ``None`` if the service does not show them."""
    tags: Any = config.get("tags")
    return tuple(str(tag) for tag in tags) if _OF_FLAG["tags"](tags) else None


def has_tag(tags: Iterable[str], tag: str) -> bool:
    """Return true if a tag is among these, without regard to capitals and spaces."""
    return tag.strip().casefold() in {present.strip().casefold() for present in tags}


def is_archived(config: Mapping[str, Any]) -> bool:
    """Return true if the service shows the object as archived."""
    return bool(config.get("deleted"))


def may_be_for_a_cohort(segment: Mapping[str, Any]) -> bool:
    """Return true if a target segment may be for a cohort: no conditions, or a condition that is not on a property.

    The service hides conditions on a cohort, so such a segment can look like a segment for all users.
    """
    conditions = segment.get("conditions")
    return not conditions or any(condition.get("type") not in ("property", None) for condition in conditions)


_Kind = Callable[[Any], bool]
_NUMBER = (int, float)
_PLAIN = (str, int, float)
_LARGEST = float_info.max


def _kept(fields: Mapping[str, Any], kinds: Mapping[str, _Kind]) -> dict[str, Any]:
    odd = _odd_names(fields, kinds)
    return {name: value for name, value in fields.items() if name not in odd} if odd else cast("dict[str, Any]", fields)


def _odd_names(fields: Mapping[str, Any], kinds: Mapping[str, _Kind]) -> list[str]:
    return [name for name, value in fields.items() if name in kinds and not kinds[name](value)]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN)


def _or_null(is_of_kind: _Kind) -> _Kind:
    return lambda value: value is None or is_of_kind(value)


def _is_list_of(is_of_kind: _Kind) -> _Kind:
    return lambda value: isinstance(value, list) and all(map(is_of_kind, value))


def _is_dict_of(is_of_kind: _Kind) -> _Kind:
    return lambda value: isinstance(value, dict) and all(map(is_of_kind, value.values()))


def _has(kinds: Mapping[str, _Kind], required: Set[str] = frozenset()) -> _Kind:
    return lambda value: isinstance(value, dict) and required <= value.keys() and not _odd_names(value, kinds)


_OF_CONDITION: dict[str, _Kind] = {"type": _or_null(_is_text)}
_OF_SEGMENT: dict[str, _Kind] = {
    "name": _or_null(_is_text),
    "conditions": _or_null(_is_list_of(_has(_OF_CONDITION))),
    "percentage": _or_null(_is_number),
    "bucketingKey": _or_null(_is_text),
    "rolloutWeights": _or_null(_is_dict_of(_or_null(_is_number))),
}
_OF_DEPENDENCIES: dict[str, _Kind] = {"flags": _is_dict_of(_or_null(_is_list_of(_is_plain)))}
_OF_VARIANT: dict[str, _Kind] = {
    "key": _is_text,
    "name": _is_text,
    "description": _is_text,
    "rolloutWeight": _is_number,
}
_OF_FLAG: dict[str, _Kind] = {
    "projectId": _is_plain,
    "key": _is_text,
    "enabled": _is_switch,
    "deleted": _is_switch,
    "rolloutPercentage": _is_number,
    "rolloutWeights": _is_dict_of(_is_number),
    "targetSegments": _is_list_of(_has(_OF_SEGMENT)),
    "variants": _is_list_of(_has({"key": _is_text}, {"key"})),
    "tags": _is_list_of(_is_plain),
    "deployments": _is_list_of(_is_plain),
    "stickyBucketing": _is_switch,
    "parentDependencies": _or_null(_has(_OF_DEPENDENCIES)),
    "bucketingKey": _is_text,
    "bucketingSalt": _is_text,
    "bucketingUnit": _is_text,
    "state": _is_text,
    "decision": _or_null(_is_text),
    "rolledOutVariant": _or_null(_is_text),
}
_OF_DEPLOYMENT: dict[str, _Kind] = {
    "projectId": _is_plain,
    "label": _is_text,
    "key": _is_text,
    "type": _is_text,
    "deleted": _is_switch,
}


def segments_of(config: Mapping[str, Any]) -> list[TargetSegment]:
    """Return the target segments; empty if the service shows none, or an invalid list."""
    segments: Any = config.get("targetSegments")
    return cast("list[TargetSegment]", segments) if _OF_FLAG["targetSegments"](segments) else []


def slots_of(group: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the slots of a mutual exclusion group with their indexes, from 1; empty if the service shows none."""
    slots = group.get("slots")
    found = [slot for slot in slots if isinstance(slot, Mapping)] if isinstance(slots, list) else []
    indexes = (str(slot.get("index")) for slot in found)
    return [
        (int(index) if index.isdigit() else place, slot)
        for place, (index, slot) in enumerate(zip(indexes, found, strict=True), 1)
    ]
