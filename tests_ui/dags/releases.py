"""Three releases for the page to show: one that goes well, one that a guardrail rolls back, one with an approval."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_ampexp.guardrails import CallableGuardrail, CheckContext, CheckResult
from airflow_provider_ampexp.operators.rollout import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.task_groups.rollout import staged_rollout


def error_rate(moment: CheckContext) -> CheckResult:
    is_bad = moment.flag_key == "instant-search" and moment.percentage >= 25
    rate = 4.7 if is_bad else 1.1
    limit = f"{rate} % of requests fail; 2 % may"
    return CheckResult("fail" if is_bad else "pass", limit, rate)


for flag_key in ("new-checkout", "instant-search"):
    with DAG(
        dag_id=f"release_{flag_key.replace('-', '_')}",
        schedule=None,
        catchup=False,
        default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
    ):
        AmplitudeRampRolloutOperator(
            task_id="ramp",
            flag_key=flag_key,
            stages=[1, 5, 25, 100],
            soak="12h",
            guardrails=[CallableGuardrail(error_rate, "error rate")],
            check_every="4h",
            poll_interval=1,
        )


with DAG(dag_id="release_quick_filters", schedule=None, catchup=False):
    staged_rollout(
        flag_key="quick-filters",
        stages=[1, 50, 100],
        soak=0,
        guardrails=[CallableGuardrail(error_rate, "error rate")],
        approve_before={50},
        poll_interval=1,
    )
