"""The stages of a rollout, in each form that a DAG can use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.rollout._duration import DurationLike, parse_duration


@dataclass(frozen=True)
class Stage:
    """One step of a rollout.

    :param percentage: of the users who get the feature, a whole number from 0 to 100
    :param soak: the time before the next stage: a ``timedelta``, or a text such as ``"2h 30m"``. If not given, the
        ``soak`` of the rollout applies, except to the last stage, which then has no soak.
    """

    percentage: int
    soak: DurationLike | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "percentage", validate.percentage("percentage", self.percentage))
        if self.soak is not None:
            object.__setattr__(self, "soak", parse_duration("soak", self.soak))


@dataclass(frozen=True)
class ResolvedStage:
    """A stage with its soak."""

    percentage: int
    soak: timedelta


def parse_stages(stages: object, soak: DurationLike | None = None) -> tuple[ResolvedStage, ...]:
    """Read stages in each form that a DAG can use.

    :param stages: percentages, ``Stage`` objects or mappings with ``percentage`` and ``soak``; or a rendered template:
        a text of JSON, or of percentages with commas
    :param soak: of all stages without an own soak, except the last
    :raises InvalidInputError: names the stage
    """
    each = None if soak is None else parse_duration("soak", soak)
    listed = _listed(stages)
    last = len(listed) - 1
    return tuple(_stage(stage, place, each if place != last else None) for place, stage in enumerate(listed))


def check_soaks(stages: object, soak: DurationLike | None) -> None:
    """Refuse stages without a soak before the last one: users would get all of them within a second.

    :raises InvalidInputError: names the stage
    """
    if soak is not None:
        return
    for place, stage in enumerate(_listed(stages)[:-1]):
        own = stage.get("soak") if isinstance(stage, Mapping) else getattr(stage, "soak", None)
        if own is None:
            raise InvalidInputError(
                "soak", f"is missing, and stages[{place}] has none of its own; '0s' is no soak, on purpose"
            )


def _listed(stages: object) -> list[Any]:
    if isinstance(stages, str):
        text = stages.strip()
        try:
            stages = json.loads(text if text.startswith("[") else f"[{text}]")
        except ValueError:
            raise InvalidInputError("stages", f"{text!r} is neither a list of percentages nor JSON") from None
    return validate.items("stages", stages)


def _stage(stage: object, place: int, soak: timedelta | None) -> ResolvedStage:
    if isinstance(stage, ResolvedStage):
        return stage
    field = f"stages[{place}]"
    percentage, own = stage, None
    if isinstance(stage, Stage):
        percentage, own = stage.percentage, stage.soak
    elif isinstance(stage, Mapping):
        if "percentage" not in stage or set(stage) - {"percentage", "soak"}:
            raise InvalidInputError(field, f"has 'percentage' and 'soak', not {sorted(map(str, stage))}")
        percentage, own = stage["percentage"], stage.get("soak")
    if isinstance(percentage, str) and percentage.strip().isdigit():
        percentage = int(percentage)
    if own is not None:
        soak = parse_duration(f"{field}.soak", own)
    return ResolvedStage(validate.percentage(field, percentage), soak or timedelta(0))
