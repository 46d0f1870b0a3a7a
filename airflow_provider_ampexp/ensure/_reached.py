"""List the users who get a flag or experiment when it is enabled. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_ampexp.client.types import FlagConfig


def enabled_notes(config: FlagConfig, changed: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a note with all percentages above 0, if a change has just enabled or restored the object.

    :param config: the configuration after the change
    :param changed: the fields that were changed, with their new values
    """
    if changed.get("enabled") is not True and not (changed.get("archive") is False and config.get("enabled") is True):
        return ()
    shares = {
        f"segment {segment.get('name')!r}": segment.get("percentage") for segment in config.get("targetSegments") or ()
    }
    shares["all other users"] = config.get("rolloutPercentage")
    unknown = [] if "targetSegments" in config else ["its target segments, which Amplitude does not show"]
    known = [f"{who} at {_percent(share)}" for who, share in shares.items() if share != 0]
    given = [*unknown, *known]
    return (f"It is now enabled for {', '.join(given) if given else 'no users'}, and for its inclusions.",)


def _percent(share: float | None) -> str:
    return "an unknown percentage" if share is None else f"{share:g} %"
