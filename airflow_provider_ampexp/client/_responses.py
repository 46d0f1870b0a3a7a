"""Ids are decimal strings, which the service answers as numbers now and then. Here they become ``str``."""

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
from airflow_provider_ampexp.client.types import Deployment, FlagConfig, VariantFields, Version


def flag_config(item: dict[str, Any]) -> FlagConfig:
    """A flag or an experiment, with its ids as texts. A known field of another kind than the API's is left out."""
    config = cast("dict[str, Any]", without_odd_fields(item))
    _ids_as_text(config)
    if "deployments" in config:
        config["deployments"] = [str(deployment) for deployment in config["deployments"]]
    return cast("FlagConfig", config)


def version(item: dict[str, Any]) -> Version:
    """One version of the history."""
    config, number = item.pop("flagConfig", None), version_number(item)
    if isinstance(config, dict):
        item["flagConfig"] = flag_config(config)
    if number:
        item["version"] = number
    else:
        item.pop("version", None)
    return cast("Version", item)


def deployment(item: dict[str, Any]) -> Deployment:
    """A deployment."""
    return cast("Deployment", _ids_as_text(cast("dict[str, Any]", deployment_without_odd_fields(item))))


def an_object(answer: ApiResponse, wanted: str = "id") -> dict[str, Any]:
    """The body as one object that has the field ``wanted``."""
    found = answer.json()
    if not isinstance(found, dict) or found.get(wanted) is None:
        raise answer.unexpected(f"An object with {wanted!r} was expected")
    return found


def created(answer: ApiResponse) -> dict[str, Any]:
    """What a create answered.

    :raises UncertainWriteError: when it cannot be read. It said yes, so it was likely created; nobody knows.
    """
    try:
        return an_object(answer)
    except UnexpectedResponseError as error:
        problem = error.detail
    uncertain = UncertainWriteError(answer.method, answer.path, problem, answer.status)
    uncertain.maybe_in_flight = False
    raise uncertain


def a_list(answer: ApiResponse) -> list[dict[str, Any]]:
    """The body as a list of objects."""
    found = answer.json()
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise answer.unexpected("A list of objects was expected")
    return found


def texts(answer: ApiResponse) -> list[str]:
    """The body as a list of user or device ids."""
    found = answer.json()
    if not isinstance(found, list) or not all(isinstance(id, str | int | float) for id in found):
        raise answer.unexpected("A list of user or device ids was expected")
    return [str(id) for id in found]


def variant(answer: ApiResponse, item: dict[str, Any]) -> VariantFields:
    """A variant, which has a key."""
    found = variant_without_odd_fields(item)
    if "key" not in found:
        raise answer.unexpected("Each variant was expected to have a 'key'")
    return found


def _ids_as_text(item: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "projectId"):
        value = item.get(name)
        if value is not None and not isinstance(value, str):
            item[name] = str(value)
    return item
