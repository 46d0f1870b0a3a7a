"""Ids are decimal strings, which the service answers as numbers now and then. Here they become ``str``."""

from __future__ import annotations

from typing import Any, cast

from airflow_provider_ampexp.client.errors import UncertainWriteError, UnexpectedResponseError
from airflow_provider_ampexp.client.fields import Deployment, FlagConfig, VariantFields, Version
from airflow_provider_ampexp.client.transport import Answer


def flag_config(item: dict[str, Any]) -> FlagConfig:
    """A flag or an experiment, with its ids as texts and every field kept."""
    _ids_as_text(item)
    if isinstance(item.get("deployments"), list):
        item["deployments"] = [str(one) for one in item["deployments"]]
    return cast("FlagConfig", item)


def version(item: dict[str, Any]) -> Version:
    """One version of the history."""
    config = item.get("flagConfig")
    if isinstance(config, dict):
        flag_config(config)
    return cast("Version", item)


def deployment(item: dict[str, Any]) -> Deployment:
    """A deployment."""
    return cast("Deployment", _ids_as_text(item))


def an_object(answer: Answer, wanted: str = "id") -> dict[str, Any]:
    """The body as one object that has the field ``wanted``."""
    found = answer.json()
    if not isinstance(found, dict) or found.get(wanted) is None:
        raise answer.unexpected(f"An object with {wanted!r} was expected")
    return found


def created(answer: Answer) -> dict[str, Any]:
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


def a_list(answer: Answer) -> list[dict[str, Any]]:
    """The body as a list of objects."""
    found = answer.json()
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise answer.unexpected("A list of objects was expected")
    return found


def texts(answer: Answer) -> list[str]:
    """The body as a list of user or device ids."""
    found = answer.json()
    if not isinstance(found, list):
        raise answer.unexpected("A list was expected")
    return [str(one) for one in found]


def variant(item: dict[str, Any]) -> VariantFields:
    """A variant."""
    return cast("VariantFields", item)


def _ids_as_text(item: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "projectId"):
        value = item.get(name)
        if value is not None and not isinstance(value, str):
            item[name] = str(value)
    return item
