"""The acts that a rollout can decide on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from airflow_provider_ampexp.rollout._history import Position
from airflow_provider_ampexp.rollout._plan import PlannedStage


@dataclass(frozen=True)
class Raise:
    """Set this stage, and enable the flag where it is not."""

    stage: PlannedStage
    why: str


@dataclass(frozen=True)
class Wait:
    """Look again at this moment of the service's clock, or when the flag changes."""

    until: datetime
    why: str


@dataclass(frozen=True)
class Check:
    """Ask the guardrails."""

    why: str


@dataclass(frozen=True)
class Preflight:
    """Ask the guardrails whether they can answer at all. Their verdicts do not count."""

    why: str


@dataclass(frozen=True)
class AskForApproval:
    """Ask a person, who has not been asked yet."""

    why: str


@dataclass(frozen=True)
class SwitchOffSticky:
    """Switch sticky bucketing off, before the first stage."""

    why: str


@dataclass(frozen=True)
class RollBack:
    """Take the flag down to this position, and end for good; ``None`` leaves it where it is.

    :param kept: where it is left, the reason for that
    """

    to: Position | None
    why: str
    kept: str = ""


@dataclass(frozen=True)
class Done:
    """Nothing is left to do."""

    why: str


@dataclass(frozen=True)
class Stop:
    """End for good and touch nothing."""

    cause: Literal[
        "archived",
        "disabled",
        "drift",
        "rolled back",
        "unknown",
        "behind",
        "rejected",
        "no answer",
        "held",
        "sticky",
        "decided",
    ]
    why: str


Act: TypeAlias = Raise | Wait | Check | Preflight | AskForApproval | SwitchOffSticky | RollBack | Done | Stop


def in_words(act: Act) -> str:
    """What is being done, as a log line begins."""
    if isinstance(act, RollBack) and act.to is None:
        return f"Failing without a rollback ({act.kept})"
    names = {
        Raise: "Raising",
        Wait: "Waiting",
        Check: "Checking",
        Preflight: "Preflight",
        AskForApproval: "Asking",
        SwitchOffSticky: "Switching sticky bucketing off",
        RollBack: "Rolling back",
        Stop: "Stopping",
    }
    return names.get(type(act), "Done")
