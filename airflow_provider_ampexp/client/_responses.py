"""Convert the bodies of responses. The service sometimes returns ids as numbers: here all ids become ``str``."""

from __future__ import annotations

from typing import Any, cast

from airflow_provider_ampexp.client._errors import UncertainWriteError, UnexpectedResponseError
from airflow_provider_ampexp.client._optional_fields import (
    deployment_without_odd_fields,
    variant_without_odd_fields,
    version_number,
    without_odd_fields,
)
from airflow_provider_ampexp.client._transport import ApiResponse
from airflow_provider_ampexp.client.types import Created, Deployment, FlagConfig, Group, VariantFields, Version


def flag_config(item: dict[str, Any]) -> FlagConfig:
    """Return a flag or an experiment with ids as ``str``, without known fields of a wrong type."""
    config = cast("dict[str, Any]", without_odd_fields(item))
    _ids_as_text(config)
    if "deployments" in config:
        config["deployments"] = [str(deployment) for deployment in config["deployments"]]
    return cast("FlagConfig", config)


def version(item: dict[str, Any]) -> Version:
    """Return a version with ids as ``str``."""
    config, number = item.pop("flagConfig", None), version_number(item)
    if isinstance(config, dict):
        item["flagConfig"] = flag_config(config)
    if number:
        item["version"] = number
    else:
        item.pop("version", None)
    return cast("Version", item)


def deployment(item: dict[str, Any]) -> Deployment:
    """Return a deployment with ids as ``str``."""
    return cast("Deployment", _ids_as_text(cast("dict[str, Any]", deployment_without_odd_fields(item))))


def group(item: dict[str, Any]) -> Group:
    """Return a mutual exclusion group or a holdout group with all ids as ``str``."""
    slots = item.get("slots")
    for place in (item, *(slots if isinstance(slots, list) else ())):
        for name in ("experiments", "holdouts"):
            if isinstance(place, dict) and isinstance(place.get(name), list):
                place[name] = [str(id) for id in place[name]]
    return cast("Group", _ids_as_text(item))


def an_object(answer: ApiResponse, wanted: str = "id") -> dict[str, Any]:
    """Return the body as an object that has the field ``wanted``."""
    found = answer.json()
    if not isinstance(found, dict) or found.get(wanted) is None:
        raise answer.unexpected(f"Expected an object with {wanted!r}")
    return found


def created(answer: ApiResponse) -> Created:
    """Return the body of a create.

    :raises UncertainWriteError: when the body is invalid. The status is a success, so the object probably exists.
    """
    try:
        made = an_object(answer)
        return {"id": str(made["id"]), "url": str(made.get("url") or "")}
    except UnexpectedResponseError as error:
        problem = error.detail
    uncertain = UncertainWriteError(answer.method, answer.path, problem, answer.status)
    uncertain.maybe_in_flight = False
    raise uncertain


def a_list(answer: ApiResponse) -> list[dict[str, Any]]:
    """Return the body as a list of objects."""
    found = answer.json()
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise answer.unexpected("Expected a list of objects")
    return found


def texts(answer: ApiResponse) -> list[str]:
    """Return the body as a list of user or device ids."""
    found = answer.json()
    if not isinstance(found, list) or not all(isinstance(id, str | int | float) for id in found):
        raise answer.unexpected("Expected a list of user or device ids")
    return [str(id) for id in found]


def variant(answer: ApiResponse, item: dict[str, Any]) -> VariantFields:
    """Return a variant, which must have a key."""
    found = variant_without_odd_fields(item)
    if "key" not in found:
        raise answer.unexpected("Expected a 'key' in each variant")
    return found


def _ids_as_text(item: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "projectId"):
        value = item.get(name)
        if value is not None and not isinstance(value, str):
            item[name] = str(value)
    return item
