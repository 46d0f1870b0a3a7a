"""The acts that a rollout can decide on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.rollout._stages import ResolvedStage
from airflow_provider_ampexp.rollout._vocabulary import AbortCause


@dataclass(frozen=True)
class SetStage:
    """Set this stage, and enable the flag where it is not."""

    stage: ResolvedStage
    why: str


@dataclass(frozen=True)
class Wait:
    """Look again at this moment of the service's clock, or when the flag changes.

    :param is_held: whether it waits because a person holds the rollout by its tag
    """

    until: datetime
    why: str
    is_held: bool = False


@dataclass(frozen=True)
class RunGuardrails:
    """Ask the guardrails."""

    why: str


@dataclass(frozen=True)
class Preflight:
    """Ask the guardrails whether they can answer at all. Their verdicts do not count."""

    why: str


@dataclass(frozen=True)
class RequestApproval:
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

    to: Exposure | None
    why: str
    kept: str = ""


@dataclass(frozen=True)
class Complete:
    """Nothing is left to do."""

    why: str


@dataclass(frozen=True)
class Abort:
    """End for good and touch nothing."""

    cause: AbortCause
    why: str


Action: TypeAlias = (
    SetStage | Wait | RunGuardrails | Preflight | RequestApproval | SwitchOffSticky | RollBack | Complete | Abort
)


def describe(act: Action) -> str:
    """What is being done, as a log line begins."""
    if isinstance(act, RollBack) and act.to is None:
        return f"Failing without a rollback ({act.kept})"
    names = {
        SetStage: "Raising",
        Wait: "Waiting",
        RunGuardrails: "Checking",
        Preflight: "Preflight",
        RequestApproval: "Asking",
        SwitchOffSticky: "Switching sticky bucketing off",
        RollBack: "Rolling back",
        Abort: "Stopping",
    }
    return names.get(type(act), "Complete")
