"""How fields of an answer are read that may be missing, null or odd: what is none of the kind is as good as missing.

Answers keep every field as it came. Whoever decides by one of these fields reads it here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from airflow_provider_ampexp.client.fields import FlagConfig, TargetSegment, VariantFields, Version


def version_number(version: Mapping[str, Any]) -> int:
    """The number of a version; 0 when it shows none."""
    number = version.get("version")
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 19:
        return int(number)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if isinstance(number, int) and not isinstance(number, bool) else 0


def config_of(version: Version) -> FlagConfig:
    """The configuration of a version; empty when it shows none."""
    config = version.get("flagConfig")
    return config if isinstance(config, dict) else {}


def segments_of(config: FlagConfig) -> list[TargetSegment]:
    """The target segments; none when the list is missing, null or odd. What is no segment in it is left out."""
    return cast("list[TargetSegment]", _objects(config.get("targetSegments")))


def variants_of(config: FlagConfig) -> list[VariantFields]:
    """The variants, likewise."""
    return cast("list[VariantFields]", _objects(config.get("variants")))


def tags_of(config: FlagConfig) -> tuple[str, ...] | None:
    """The tags; ``None`` when the service does not show them."""
    tags: Any = config.get("tags")
    return tuple(str(tag) for tag in tags) if isinstance(tags, list) else None


def is_archived(config: FlagConfig) -> bool:
    """Whether it is archived, as far as the service shows."""
    return bool(config.get("deleted"))


def percentage_in(fields: Mapping[str, Any], name: str) -> float | None:
    """A percentage; ``None`` when the service does not show a number."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _objects(items: object) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
