"""How fields of an answer are read that may be missing, null or odd: a value of another kind is as good as missing.

All readers of a flag decide by these fields. So what cannot be read is left out where an answer comes in, and nothing
further on has to ask of what kind a value is. Fields that this provider does not know are kept as they came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from airflow_provider_ampexp.client.types import Deployment, FlagConfig, TargetSegment, VariantFields


def without_odd_fields(config: Mapping[str, Any]) -> FlagConfig:
    """A flag or an experiment without the known fields whose value is of another kind than the API's.

    A list with one odd item is left out as a whole: written back without that item, it would remove it.
    """
    return cast("FlagConfig", _kept(config, _OF_FLAG))


def variant_without_odd_fields(variant: Mapping[str, Any]) -> VariantFields:
    """The same of a variant that was read by itself."""
    return cast("VariantFields", _kept(variant, _OF_VARIANT))


def deployment_without_odd_fields(deployment: Mapping[str, Any]) -> Deployment:
    """The same of a deployment."""
    return cast("Deployment", _kept(deployment, _OF_DEPLOYMENT))


def version_number(version: Mapping[str, Any]) -> int:
    """The number of a version; 0 when it shows none."""
    number = version.get("version")
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 19:
        return int(number)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def config_of(version: Mapping[str, Any]) -> FlagConfig:
    """The configuration of a version, without odd fields; empty when it shows none."""
    config = version.get("flagConfig")
    return without_odd_fields(config) if isinstance(config, Mapping) else {}


def tags_of(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The tags; ``None`` when the service does not show them."""
    tags: Any = config.get("tags")
    return tuple(str(tag) for tag in tags) if _OF_FLAG["tags"](tags) else None


def has_tag(tags: Iterable[str], tag: str) -> bool:
    """Whether a tag is among these. A person who types it in Amplitude may spell it with capitals or spaces."""
    return tag.strip().casefold() in {each.strip().casefold() for each in tags}


def is_archived(config: Mapping[str, Any]) -> bool:
    """Whether it is archived, as far as the service shows."""
    return bool(config.get("deleted"))


def may_be_for_a_cohort(segment: Mapping[str, Any]) -> bool:
    """Whether a target segment may be for a cohort: it shows no conditions, or one that is not on a property.

    The service does not show a condition on a cohort, so such a segment may read like one for every user.
    """
    conditions = segment.get("conditions")
    return not conditions or any(one.get("type") not in ("property", None) for one in conditions)


_Kind = Callable[[Any], bool]


def _kept(fields: Mapping[str, Any], kinds: Mapping[str, _Kind]) -> dict[str, Any]:
    odd = [name for name, is_of_kind in kinds.items() if name in fields and not is_of_kind(fields[name])]
    return {name: value for name, value in fields.items() if name not in odd} if odd else cast("dict[str, Any]", fields)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _or_null(is_of_kind: _Kind) -> _Kind:
    return lambda value: value is None or is_of_kind(value)


def _is_list_of(is_of_kind: _Kind) -> _Kind:
    return lambda value: isinstance(value, list) and all(map(is_of_kind, value))


def _has(kinds: Mapping[str, _Kind], *required: str) -> _Kind:
    return lambda value: (
        isinstance(value, Mapping)
        and all(name in value for name in required)
        and all(is_of_kind(value[name]) for name, is_of_kind in kinds.items() if name in value)
    )


def _are_weights(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _are_dependencies(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    flags = value.get("flags", {})
    return isinstance(flags, Mapping) and all(map(_is_list_of(_is_plain), flags.values()))


_OF_CONDITION: dict[str, _Kind] = {"type": _or_null(_is_text)}
_OF_SEGMENT: dict[str, _Kind] = {
    "name": _or_null(_is_text),
    "conditions": _or_null(_is_list_of(_has(_OF_CONDITION))),
    "percentage": _or_null(_is_number),
    "bucketingKey": _or_null(_is_text),
    "rolloutWeights": _or_null(_are_weights),
}
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
    "rolloutWeights": _are_weights,
    "targetSegments": _is_list_of(_has(_OF_SEGMENT)),
    "variants": _is_list_of(_has({"key": _is_text}, "key")),
    "tags": _is_list_of(_is_plain),
    "deployments": _is_list_of(_is_plain),
    "stickyBucketing": _is_switch,
    "parentDependencies": _or_null(_are_dependencies),
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
    """The target segments; none when the service does not show them, or shows what is no list of segments."""
    segments: Any = config.get("targetSegments")
    return cast("list[TargetSegment]", segments) if _OF_FLAG["targetSegments"](segments) else []
