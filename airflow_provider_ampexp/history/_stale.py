"""The rules for flags and experiments that are no longer of use. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_ampexp.client._optional_fields import config_of, segments_of, version_number
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.client.types import Version

Rule = Callable[[Mapping[str, Any]], bool]


def _shares(config: Mapping[str, Any]) -> set[Any]:
    return {config.get("rolloutPercentage"), *(segment.get("percentage") for segment in segments_of(config))}


def _splits(config: Mapping[str, Any]) -> bool:
    """Return true if users get different variants, as in an experiment that runs."""
    places = [config.get("rolloutWeights"), *(segment.get("rolloutWeights") for segment in segments_of(config))]
    shown = [weights for weights in places if weights is not None]
    given = {key for weights in shown for key, weight in weights.items() if weight != 0}
    return len(given) > 1 if shown else len(config.get("variants") or ()) > 1


RULES: dict[str, Rule] = {
    "at 100 %": lambda config: config.get("enabled") is True and _shares(config) == {100} and not _splits(config),
    "at 0 %": lambda config: config.get("enabled") is True and _shares(config) == {0},
    "disabled": lambda config: config.get("enabled") is False,
    "no deployment": lambda config: config.get("deployments") == [],
    "decided": lambda config: config.get("decision") in ("rollout", "rollback"),
}
"""The reasons, each with its rule about a configuration. 100 % and 0 % count in each target segment, too."""


def held_since(versions: Iterable[Version], rule: Rule) -> datetime | None:
    """Return since when a rule is true without a break; ``None`` if it is not true now, or if no time is known.

    A field that a version omits keeps its value of the version before.
    """
    since: datetime | None = None
    config: dict[str, Any] = {}
    for version in sorted(versions, key=version_number):
        config.update(config_of(version))
        if not rule(config):
            since = None
        elif since is None:
            since = parse_timestamp(version.get("createdAt"))
    return since
