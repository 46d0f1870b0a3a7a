"""Refuse a change after which users would get no variant, because all weights that apply to them are 0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from airflow_provider_ampexp.ensure._errors import ConflictError, WrongStateError

if TYPE_CHECKING:
    from airflow_provider_ampexp.client.types import FlagConfig, TargetSegment

ALL_OTHER_USERS = "all other users"


def weights_by_place(config: FlagConfig) -> dict[str, Mapping[str, float]]:
    """Return the weights of each segment and of all other users, by the name of the place.

    Weights that the service does not show are unknown, and not among them.
    """
    weights = {_place_of(segment): segment.get("rolloutWeights") for segment in config.get("targetSegments") or ()}
    places = {**weights, ALL_OTHER_USERS: config.get("rolloutWeights")}
    return {place: known for place, known in places.items() if known is not None}


def percentages_by_place(config: FlagConfig) -> dict[str, float | None]:
    """Return the percentage of each segment and of all other users, by the name of the place."""
    percentages = {_place_of(segment): segment.get("percentage") for segment in config.get("targetSegments") or ()}
    return {**percentages, ALL_OTHER_USERS: config.get("rolloutPercentage")}


def _place_of(segment: TargetSegment) -> str:
    return f"segment {segment.get('name')!r}"


def refuse_all_the_weight(doing: str, variant: str, place: str, weights: Mapping[str, float]) -> None:
    """Raise if the other variants have a total weight of 0.

    :param doing: the change that takes the weight from the variant, for the error
    :raises WrongStateError: when no user of the place would get a variant
    """
    if weights.get(variant) and not any(weight for key, weight in weights.items() if key != variant):
        raise WrongStateError(
            f"{doing} failed: it has all the weight of {place} ({dict(weights)}), so these users would get no variant. "
            "Nothing was changed. Give another variant a weight first."
        )


def refuse_segments_without_weight(
    flag: str | None, segments: Iterable[TargetSegment], wanted: Iterable[TargetSegment]
) -> None:
    """Raise if a segment with a percentage would have no weight. A segment that has none already is sent back.

    :param segments: the segments as read
    :param wanted: the new list
    :raises WrongStateError: when no user of the segment would get a variant
    """
    known = [segment.get("name") for segment in segments if _gives_no_variant(segment)]
    for segment in wanted:
        if _gives_no_variant(segment) and segment.get("name") not in known:
            raise WrongStateError(
                f"Editing the target segments of {flag!r} failed: the weights of segment {segment.get('name')!r} at "
                f"{segment.get('percentage')} % would all be 0, so these users would get no variant. Nothing was "
                "changed. Give at least one variant a weight."
            )


def check_weights_left(doing: str, place: str, weights: Iterable[float]) -> None:
    """Raise if all weights are 0 after a write: another actor then removed the other weight at the same time.

    :param doing: the write, for the error
    :raises ConflictError: when no user of the place gets a variant now
    """
    if not any(weights):
        raise ConflictError(
            f"{doing} failed: another actor changed a weight while this task was writing, and all weights of {place} "
            "are 0 now, so these users get no variant. Set a weight in Amplitude now."
        )


def _gives_no_variant(segment: TargetSegment) -> bool:
    weights = segment.get("rolloutWeights")
    return bool(segment.get("percentage")) and weights is not None and not any(weights.values())
