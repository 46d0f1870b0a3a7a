"""The rules of a rollout: plan, history, state, decision. Pure functions: no I/O, no clock, no Airflow.

``decide`` is the rule of the loop. The last task of a group asks ``decide_group_rollback``. The watchdog, which runs
without Airflow, has a rule of its own in ``watchdog/_verdict.py``. No other rule changes the exposure of a flag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp._lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_ampexp.rollout._actions import (
        Abort,
        Action,
        Complete,
        Preflight,
        PreviewRaise,
        RequestApproval,
        RollBack,
        RunGuardrails,
        SetStage,
        Wait,
    )
    from airflow_provider_ampexp.rollout._alert import RolloutAlert
    from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy, GuardrailStatus, LiftInterval
    from airflow_provider_ampexp.rollout._change_window import ChangeWindow
    from airflow_provider_ampexp.rollout._decision import decide
    from airflow_provider_ampexp.rollout._forecast import Forecast, ForecastStage, forecast
    from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, exposure_of, read_history
    from airflow_provider_ampexp.rollout._plan import RolloutPlan
    from airflow_provider_ampexp.rollout._preview import PreviewResult, RolloutPreview
    from airflow_provider_ampexp.rollout._record import RecordLine
    from airflow_provider_ampexp.rollout._stages import Stage, parse_stages
    from airflow_provider_ampexp.rollout._state import RolloutState

__all__ = [
    "Abort",
    "Action",
    "ChangeWindow",
    "Complete",
    "Exposure",
    "FlagSnapshot",
    "Forecast",
    "ForecastStage",
    "GuardrailPolicy",
    "GuardrailStatus",
    "LiftInterval",
    "Preflight",
    "PreviewRaise",
    "PreviewResult",
    "RecordLine",
    "RequestApproval",
    "RollBack",
    "RolloutAlert",
    "RolloutPlan",
    "RolloutPreview",
    "RolloutState",
    "RunGuardrails",
    "SetStage",
    "Stage",
    "Wait",
    "decide",
    "exposure_of",
    "forecast",
    "parse_stages",
    "read_history",
]

if not TYPE_CHECKING:  # with it, a type checker would accept any name
    __getattr__ = lazy_names(
        __name__,
        {
            "_actions": [
                "Abort",
                "Action",
                "Complete",
                "Preflight",
                "PreviewRaise",
                "RequestApproval",
                "RollBack",
                "RunGuardrails",
                "SetStage",
                "Wait",
            ],
            "_alert": ["RolloutAlert"],
            "_analysis": ["GuardrailPolicy", "GuardrailStatus", "LiftInterval"],
            "_change_window": ["ChangeWindow"],
            "_decision": ["decide"],
            "_forecast": ["Forecast", "ForecastStage", "forecast"],
            "_history": ["Exposure", "FlagSnapshot", "exposure_of", "read_history"],
            "_plan": ["RolloutPlan"],
            "_preview": ["PreviewResult", "RolloutPreview"],
            "_record": ["RecordLine"],
            "_stages": ["Stage", "parse_stages"],
            "_state": ["RolloutState"],
        },
    )
