"""Checks that look at the world before a rollout goes on: pass, fail, inconclusive, or the error they ended with."""

from __future__ import annotations

from airflow_provider_ampexp.guardrails._base import Answer, Guardrail, Moment
from airflow_provider_ampexp.guardrails._callable import CallableGuardrail, as_guardrail, as_guardrails
from airflow_provider_ampexp.guardrails._run import ask
from airflow_provider_ampexp.guardrails._sample_ratio import SampleRatioGuardrail
from airflow_provider_ampexp.guardrails._sql import SqlGuardrail

__all__ = [
    "Answer",
    "CallableGuardrail",
    "Guardrail",
    "Moment",
    "SampleRatioGuardrail",
    "SqlGuardrail",
    "as_guardrail",
    "as_guardrails",
    "ask",
]
