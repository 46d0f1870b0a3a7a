"""Checks that decide whether a rollout continues: pass, fail, inconclusive or error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp._lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, Guardrail
    from airflow_provider_ampexp.guardrails._callable import CallableGuardrail, as_guardrail, as_guardrails
    from airflow_provider_ampexp.guardrails._holdback import HoldbackGuardrail
    from airflow_provider_ampexp.guardrails._run import run_checks
    from airflow_provider_ampexp.guardrails._sample_ratio import SampleRatioGuardrail
    from airflow_provider_ampexp.guardrails._sql import SqlGuardrail

__all__ = [
    "CallableGuardrail",
    "CheckContext",
    "CheckResult",
    "Guardrail",
    "HoldbackGuardrail",
    "SampleRatioGuardrail",
    "SqlGuardrail",
    "as_guardrail",
    "as_guardrails",
    "run_checks",
]

if not TYPE_CHECKING:  # with it, a type checker would accept any name
    __getattr__ = lazy_names(
        __name__,
        {
            "_base": ["CheckContext", "CheckResult", "Guardrail"],
            "_callable": ["CallableGuardrail", "as_guardrail", "as_guardrails"],
            "_holdback": ["HoldbackGuardrail"],
            "_run": ["run_checks"],
            "_sample_ratio": ["SampleRatioGuardrail"],
            "_sql": ["SqlGuardrail"],
        },
    )
