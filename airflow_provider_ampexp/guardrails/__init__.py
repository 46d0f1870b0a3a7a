"""Checks that decide whether a rollout continues: pass, fail, inconclusive or error."""

from __future__ import annotations

from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, Guardrail
from airflow_provider_ampexp.guardrails._callable import CallableGuardrail, as_guardrail, as_guardrails
from airflow_provider_ampexp.guardrails._run import run_checks
from airflow_provider_ampexp.guardrails._sample_ratio import SampleRatioGuardrail
from airflow_provider_ampexp.guardrails._sql import SqlGuardrail

__all__ = [
    "CallableGuardrail",
    "CheckContext",
    "CheckResult",
    "Guardrail",
    "SampleRatioGuardrail",
    "SqlGuardrail",
    "as_guardrail",
    "as_guardrails",
    "run_checks",
]
