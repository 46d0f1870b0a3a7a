"""What a rollout is: a plan, the flag's history, and one decision at a time.

Pure functions: no I/O, no clock, no Airflow. ``decide`` is the whole rule.
"""

from __future__ import annotations

from airflow_provider_ampexp.rollout._actions import (
    Act,
    AskForApproval,
    Check,
    Done,
    Preflight,
    Raise,
    RollBack,
    Stop,
    Wait,
)
from airflow_provider_ampexp.rollout._analysis import Consequence, Streak
from airflow_provider_ampexp.rollout._change_window import ChangeWindow
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._history import Position, Seen, position_of, read_history
from airflow_provider_ampexp.rollout._plan import RolloutPlan, Stage, planned_stages
from airflow_provider_ampexp.rollout._state import Memory

__all__ = [
    "Act",
    "AskForApproval",
    "ChangeWindow",
    "Check",
    "Consequence",
    "Done",
    "Memory",
    "Position",
    "Preflight",
    "Raise",
    "RollBack",
    "RolloutPlan",
    "Seen",
    "Stage",
    "Stop",
    "Streak",
    "Wait",
    "decide",
    "planned_stages",
    "position_of",
    "read_history",
]
