"""Check the bodies of creates and edits, before they are sent. Each error names the field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError

_OF_SEGMENT = ("name", "conditions", "percentage", "rolloutWeights")


def variant_fields(fields: Mapping[str, Any], field: str = "") -> dict[str, Any]:
    """Validate the body of a variant's create or edit."""
    checked = validate.mapping(field or "fields", fields)
    prefix = f"{field}." if field else ""
    if "key" in checked:
        validate.path_name(f"{prefix}key", checked["key"])
    if "payload" in checked:
        validate.json_element(f"{prefix}payload", checked["payload"])
    if "rolloutWeight" in checked:
        validate.weight(f"{prefix}rolloutWeight", checked["rolloutWeight"])
    validate.json_element(field or "fields", checked, validate.DEEPEST_BODY)
    return checked


def flag_fields(fields: Mapping[str, Any], *, patched: bool = False, as_read: bool = False) -> dict[str, Any]:
    """Validate the body of a flag's or experiment's create or edit.

    :param patched: true for an edit, for which a target segment needs all its fields
    :param as_read: true if the body has values that were read: percentages may be fractions, segments are unchanged
    """
    share = _share if as_read else validate.percentage
    checked = validate.mapping("fields", fields)
    for required in ("projectId", "key"):
        if required in checked:
            checked[required] = validate.name(required, checked[required])
    if "rolloutPercentage" in checked:
        checked["rolloutPercentage"] = share("rolloutPercentage", checked["rolloutPercentage"])
    for field in ("enabled", "archive", "stickyBucketing"):
        if field in checked:
            validate.switch(field, checked[field])
    if "deployments" in checked:
        checked["deployments"] = validate.names("deployments", checked["deployments"])
    if "rolloutWeights" in checked:
        _weights("rolloutWeights", checked["rolloutWeights"])
    for many, parse_item in (("variants", variant_fields), ("targetSegments", partial(_segment, share))):
        if many in checked:
            listed = validate.items(many, checked[many])
            checked[many] = [parse_item(item, f"{many}[{place}]") for place, item in enumerate(listed)]
    for place, variant in enumerate(checked.get("variants", ())):
        validate.require(f"variants[{place}]", variant, ("key",))
    if not as_read:
        _whole_segments(checked.get("targetSegments", ()), _OF_SEGMENT if patched else ("conditions",))
    validate.json_element("fields", checked, validate.DEEPEST_BODY)
    return checked


def _segment(share: Callable[[str, object], float], fields: Mapping[str, Any], field: str) -> dict[str, Any]:
    checked = validate.mapping(field, fields)
    if "percentage" in checked:
        checked["percentage"] = share(f"{field}.percentage", checked["percentage"])
    return checked


def _whole_segments(segments: Iterable[Mapping[str, Any]], required: Iterable[str]) -> None:
    for place, segment in enumerate(segments):
        field = f"targetSegments[{place}]"
        validate.require(field, segment, required)
        conditions = validate.items(f"{field}.conditions", segment["conditions"])
        for number, condition in enumerate(conditions):
            _condition(f"{field}.conditions[{number}]", condition)
        if segment.get("rolloutWeights") is not None:
            _weights(f"{field}.rolloutWeights", segment["rolloutWeights"])


def _weights(field: str, value: object) -> None:
    for key, weight in validate.mapping(field, value).items():
        validate.weight(f"{field}.{key}", weight)


def _condition(field: str, value: object) -> None:
    condition = validate.mapping(field, value)
    validate.require(field, condition, ("type", "prop", "op", "values"))
    if condition["type"] != "property":
        raise InvalidInputError(
            f"{field}.type", f"expected 'property', got {condition['type']!r} (the API takes no conditions on cohorts)"
        )
    values = condition["values"]
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise InvalidInputError(f"{field}.values", f"expected a list of strings, got {values!r}")


def _share(field: str, value: object) -> int | float:
    """Return a percentage that was read, from 0 to 100, perhaps a fraction."""
    if isinstance(value, float) and 0 < value < 100 and value != int(value):
        return value
    return validate.percentage(field, value)
