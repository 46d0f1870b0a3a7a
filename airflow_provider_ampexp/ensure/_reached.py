"""Say who gets a flag or experiment once it is switched on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_ampexp.client.types import FlagConfig


def enabled_notes(config: FlagConfig, changed: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the percentages by which users get it now, where a change has just enabled or restored it.

    :param config: as it is after the change
    :param changed: the fields that were changed, with their new values
    """
    if changed.get("enabled") is not True and not (changed.get("archive") is False and config.get("enabled") is True):
        return ()
    shares = {f"segment {one.get('name')!r}": one.get("percentage") for one in config.get("targetSegments") or ()}
    shares["all other users"] = config.get("rolloutPercentage")
    given = [f"{who} at {share:g} %" for who, share in shares.items() if share]
    return (f"It is enabled now: {', '.join(given) if given else 'nobody'} may get it, and its inclusions do.",)
