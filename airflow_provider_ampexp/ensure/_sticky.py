"""What sticky bucketing makes of a change: users keep the variant that they got once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_ampexp.client.types import FlagConfig

_ON = "Sticky bucketing is on: users keep the variant that they got once"
_LOWERED = f"{_ON}, so that a lower percentage takes it from nobody. Disable the object, or switch stickyBucketing off."
_WEIGHED = f"{_ON}, so that other weights count for new users only. Switch stickyBucketing off to move the others."
_DISABLED = f"{_ON}. Disabling takes it from them; once enabled again, they have it back at any percentage."


def sticky_notes(config: FlagConfig, changed: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what a change does not do, or undoes, where sticky bucketing is on.

    :param config: before the change
    :param changed: the fields that change, with their new values
    """
    if config.get("stickyBucketing") is not True or changed.get("stickyBucketing") is False:
        return ()
    if changed.get("enabled") is False:
        return (_DISABLED,)
    return (_LOWERED,) if _lowers(config, changed) else ()


def weighed_notes(config: FlagConfig) -> tuple[str, ...]:
    """Say whom other weights do not move, where sticky bucketing is on."""
    return (_WEIGHED,) if config.get("stickyBucketing") is True else ()


def _lowers(config: FlagConfig, changed: Mapping[str, Any]) -> bool:
    before, after = config.get("rolloutPercentage"), changed.get("rolloutPercentage")
    pairs = [(before, after)]
    shares = {one.get("name"): one.get("percentage") for one in changed.get("targetSegments") or ()}
    if "targetSegments" in changed:
        pairs += [(one.get("percentage"), shares.get(one.get("name"))) for one in config.get("targetSegments") or ()]
    return any(was is not None and now is not None and now < was for was, now in pairs)
