"""The rules of a rollout: plan, history, state, decision. Pure functions: no I/O, no clock, no Airflow.

``_decision.py`` is the rule of the loop. The rollback task of a group asks ``_group_rollback.py``. The watchdog, which
runs without Airflow, has a rule of its own in ``watchdog/_verdict.py``. No other rule decides a raise or a rollback of
a rollout. ``reconcile`` restores a change of another actor that a write of the rollout overwrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp._lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_ampexp.rollout._alert import RolloutAlert
    from airflow_provider_ampexp.rollout._analysis import GuardrailPolicy, LiftInterval
    from airflow_provider_ampexp.rollout._change_window import ChangeWindow
    from airflow_provider_ampexp.rollout._plan import RolloutPlan
    from airflow_provider_ampexp.rollout._preview import PreviewResult, RolloutPreview
    from airflow_provider_ampexp.rollout._stages import Stage

__all__ = [
    "ChangeWindow",
    "GuardrailPolicy",
    "LiftInterval",
    "PreviewResult",
    "RolloutAlert",
    "RolloutPlan",
    "RolloutPreview",
    "Stage",
]

if not TYPE_CHECKING:  # with it, a type checker would accept any name
    __getattr__ = lazy_names(
        __name__,
        {
            "_alert": ["RolloutAlert"],
            "_analysis": ["GuardrailPolicy", "LiftInterval"],
            "_change_window": ["ChangeWindow"],
            "_plan": ["RolloutPlan"],
            "_preview": ["PreviewResult", "RolloutPreview"],
            "_stages": ["Stage"],
        },
    )
