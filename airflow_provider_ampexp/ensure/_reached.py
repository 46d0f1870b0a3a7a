"""List the users who get a flag or experiment when it is enabled. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from airflow_provider_ampexp.client.types import FlagConfig
from airflow_provider_ampexp.ensure._no_weight import percentages_by_place, weights_by_place
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._sticky import lowers_a_percentage


def enabled_notes(config: FlagConfig, changed: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a note with all percentages above 0, if a change has just enabled or restored the object.

    :param config: the configuration after the change
    :param changed: the fields that were changed, with their new values
    """
    if changed.get("enabled") is not True and not (changed.get("archive") is False and config.get("enabled") is True):
        return ()
    shares = percentages_by_place(config)
    unknown = [] if "targetSegments" in config else ["its target segments, which Amplitude does not show"]
    known = [f"{who} at {_percent(share)}" for who, share in shares.items() if share != 0]
    given = [*unknown, *known]
    return (f"It is now enabled for {', '.join(given) if given else 'no users'}, and for its inclusions.",)


def with_unreached_notes(outcome: ChangeResult, config: FlagConfig, wanted: Mapping[str, Any]) -> ChangeResult:
    """Add notes why users get no variant, if a change has enabled the object or raised a percentage.

    :param config: the configuration before the change
    :param wanted: all fields that the task sets
    """
    if not outcome.changed or (lowers_a_percentage(config, wanted) and "enabled" not in wanted):
        return outcome
    notes = _unreached(cast("FlagConfig", {**config, **wanted}), wanted)
    return replace(outcome, notes=(*outcome.notes, *notes))


def _unreached(config: FlagConfig, changed: Mapping[str, Any]) -> tuple[str, ...]:
    shares = percentages_by_place(config)
    is_concerned = changed.get("enabled") is True or "targetSegments" in changed or "rolloutPercentage" in changed
    if not is_concerned or not any(shares.values()):
        return ()
    reasons = ["It is in no deployment, so nobody gets it."] if config.get("deployments") == [] else []
    if config.get("variants") == []:
        return (*reasons, "It has no variant, so nobody gets one.")
    zeros = {place for place, weights in weights_by_place(config).items() if weights and set(weights.values()) == {0}}
    places = [place for place, share in shares.items() if share and place in zeros]
    if places:
        reasons.append(f"All weights of {', '.join(places)} are 0, so these users get no variant.")
    return tuple(reasons)


def _percent(share: float | None) -> str:
    return "an unknown percentage" if share is None else f"{share:g} %"
