"""What a rollout is: a plan, the flag's history, and one decision at a time.

Pure functions: no I/O, no clock, no Airflow. ``decide`` is the whole rule.
"""

from __future__ import annotations

from airflow_provider_ampexp.rollout.acts import (
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
from airflow_provider_ampexp.rollout.consequence import Consequence, Streak
from airflow_provider_ampexp.rollout.decision import decide
from airflow_provider_ampexp.rollout.history import Position, Seen, position_of, read_history
from airflow_provider_ampexp.rollout.memory import Memory
from airflow_provider_ampexp.rollout.plan import RolloutPlan, Stage, planned_stages
from airflow_provider_ampexp.rollout.window import ChangeWindow

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
