"""A plan is converted to plain values, and back."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan, Stage
from airflow_provider_ampexp.rollout._approval import ApprovalPolicy
from airflow_provider_ampexp.rollout._stages import parse_stages

STAGES = parse_stages([1, Stage(25, "1d"), 100], "2h")


@pytest.mark.parametrize(
    "plan",
    [
        RolloutPlan(STAGES),
        RolloutPlan(
            STAGES,
            segment="Beta",
            rollback=5,
            on_drift="adopt",
            enable=False,
            checked=True,
            check_every=timedelta(minutes=3),
            window=ChangeWindow("Mon-Thu", "09:00", "17:00", "Europe/Berlin", ["2026-12-24"]),
            hold_tag="wait",
            approval=ApprovalPolicy(25, timedelta(hours=1), "hold", "rollback"),
        ),
        RolloutPlan(STAGES, only=25),
    ],
)
def test_a_plan_survives_json(plan: RolloutPlan) -> None:
    assert RolloutPlan.from_json(json.loads(json.dumps(plan.as_json()))) == plan


def test_what_a_later_version_says_besides_is_passed_over() -> None:
    assert RolloutPlan.from_json({**RolloutPlan(STAGES).as_json(), "mood": "good"}) == RolloutPlan(STAGES)
