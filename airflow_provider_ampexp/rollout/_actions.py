"""The actions of a rollout: what ``decide`` returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.rollout._stages import ResolvedStage
from airflow_provider_ampexp.rollout._vocabulary import AbortCause


@dataclass(frozen=True)
class SetStage:
    """Set this stage, and enable a disabled flag. A disabled flag above the stage is lowered first."""

    stage: ResolvedStage
    why: str


@dataclass(frozen=True)
class Wait:
    """Wait until a time on the service's clock, or until the flag changes.

    :param is_held: a person holds the rollout with the tag
    """

    until: datetime
    why: str
    is_held: bool = False


@dataclass(frozen=True)
class RunGuardrails:
    """Run the guardrails."""

    why: str


@dataclass(frozen=True)
class Preflight:
    """Run each guardrail once to see whether it works. The verdicts do not count."""

    why: str


@dataclass(frozen=True)
class PreviewRaise:
    """Find out who enters with the next raise.

    :param percentage: the percentage after the raise
    """

    percentage: int
    why: str


@dataclass(frozen=True)
class RequestApproval:
    """Request an approval."""

    why: str


@dataclass(frozen=True)
class SwitchOffSticky:
    """Disable sticky bucketing, before the first stage."""

    why: str


@dataclass(frozen=True)
class RollBack:
    """Lower the flag to this exposure, and end without a retry.

    :param to: ``None`` leaves the flag as it is
    :param why_left: the reason for leaving the flag as it is
    """

    to: Exposure | None
    why: str
    why_left: str = ""


@dataclass(frozen=True)
class Complete:
    """End with success."""

    why: str


@dataclass(frozen=True)
class Abort:
    """End without a retry, and leave the flag as it is."""

    cause: AbortCause
    why: str


Action: TypeAlias = (
    SetStage
    | Wait
    | RunGuardrails
    | Preflight
    | PreviewRaise
    | RequestApproval
    | SwitchOffSticky
    | RollBack
    | Complete
    | Abort
)


def describe(act: Action) -> str:
    """Return the name of an action, for the beginning of a log line."""
    if isinstance(act, RollBack) and act.to is None:
        return f"Failing without a rollback ({act.why_left})"
    names = {
        SetStage: "Raising",
        Wait: "Waiting",
        RunGuardrails: "Checking",
        Preflight: "Preflight",
        PreviewRaise: "Previewing",
        RequestApproval: "Requesting an approval",
        SwitchOffSticky: "Disabling sticky bucketing",
        RollBack: "Rolling back",
        Abort: "Stopping",
    }
    return names.get(type(act), "Complete")
