"""Rollouts as YAML files, and the commands that check them.

It loads pydantic and PyYAML, which come with Airflow, and no network code.
"""

from __future__ import annotations

from airflow_provider_ampexp.plans._dag_factory import rollout_dags
from airflow_provider_ampexp.plans._errors import PlanFileError, PlanFileWarning, PlanIssue
from airflow_provider_ampexp.plans._loader import load_plan

__all__ = ["PlanFileError", "PlanFileWarning", "PlanIssue", "load_plan", "rollout_dags"]
