"""Notes about sticky bucketing: users keep their variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_ampexp.client.types import FlagConfig

_ON = "Sticky bucketing is on: users keep their variant"
_LOWERED = f"{_ON}, so a lower percentage removes no user. Disable the object, or set stickyBucketing to false."
_WEIGHED = f"{_ON}, so new weights apply to new users only. To move the others, set stickyBucketing to false."
_DISABLED = f"{_ON}. They lose it now. If you enable the object again, they get it back, at any percentage."


def sticky_notes(config: FlagConfig, changed: Mapping[str, Any]) -> tuple[str, ...]:
    """Return notes about the effect of a change, if sticky bucketing is on.

    :param config: the configuration before the change
    :param changed: the fields that change, with their new values
    """
    if config.get("stickyBucketing") is not True or changed.get("stickyBucketing") is False:
        return ()
    if changed.get("enabled") is False:
        return (_DISABLED,)
    return (_LOWERED,) if lowers_a_percentage(config, changed) else ()


def weighed_notes(config: FlagConfig) -> tuple[str, ...]:
    """Return a note about new weights, if sticky bucketing is on."""
    return (_WEIGHED,) if config.get("stickyBucketing") is True else ()


def lowers_a_percentage(config: FlagConfig, changed: Mapping[str, Any]) -> bool:
    """Return true if a percentage gets lower, of a target segment or of all other users."""
    shares = {segment.get("name"): segment.get("percentage") for segment in changed.get("targetSegments") or ()}
    pairs = [
        (config.get("rolloutPercentage"), changed.get("rolloutPercentage")),
        *(
            (segment.get("percentage"), shares.get(segment.get("name")))
            for segment in config.get("targetSegments") or ()
        ),
    ]
    return any(was is not None and now is not None and now < was for was, now in pairs)
