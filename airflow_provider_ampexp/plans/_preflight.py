"""Run the SQL guardrails and the previews of plan files once to see if they work, before users get a feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails import CheckContext, CheckResult, Guardrail
from airflow_provider_ampexp.guardrails._run import preflight
from airflow_provider_ampexp.guardrails._warehouse import QueryGuardrail, stream_rows
from airflow_provider_ampexp.plans._errors import PlanIssue
from airflow_provider_ampexp.plans._loader import LoadedPlan
from airflow_provider_ampexp.rollout import GuardrailPolicy, RolloutPreview


@dataclass(frozen=True)
class _QueryOnly:
    """A guardrail of a flag whose configuration is not known here: only its query runs."""

    guardrail: QueryGuardrail

    @property
    def name(self) -> str:
        return self.guardrail.name

    @property
    def consequence(self) -> GuardrailPolicy:
        return self.guardrail.consequence

    @property
    def timeout(self) -> object:
        return self.guardrail.timeout

    def check(self, moment: CheckContext) -> CheckResult:
        self.guardrail.check_query(moment)
        return CheckResult("pass")


def cannot_answer(read: LoadedPlan) -> Iterator[PlanIssue]:
    """Yield a mistake for each SQL guardrail of a file that does not work with the connections of this machine."""
    for rollout in read.rollouts:
        yield from _cannot_answer(rollout)


def _cannot_answer(read: LoadedPlan) -> Iterator[PlanIssue]:
    now, plan = datetime.now(timezone.utc), read.plan
    flag_key = plan.flag or plan.experiment or plan.flag_id or plan.experiment_id
    moment = CheckContext(str(flag_key), 0, now, now, segment=plan.segment)
    for place, fields in enumerate(plan.guardrails):
        for _, why in preflight(_asked(fields.made), moment):
            error = InvalidInputError(f"guardrails[{place}]", f"{fields.made.name!r} cannot answer: {why}")
            yield from read.refused(error).mistakes
    if plan.preview is not None:
        try:
            _check_query(plan.preview.made)
        except Exception as error:  # of the driver
            yield from read.refused(InvalidInputError("preview", f"cannot answer: {error}")).mistakes


def _check_query(preview: RolloutPreview) -> None:
    """Run the query of a preview.

    :raises ValueError: when it does not return the columns
    """

    def check(columns: list[str], rows: object) -> None:
        given = {column.upper() for column in columns}
        if missing := [column for column in preview.columns if column.upper() not in given]:
            raise ValueError(f"expected the columns {missing} in the query, got {columns}")

    stream_rows(preview.conn_id, preview.sql, check)


def _asked(guardrail: Guardrail) -> list[Guardrail]:
    """Return the guardrail in a list, or no guardrail for a function, which needs the context of its task."""
    return [_QueryOnly(guardrail)] if isinstance(guardrail, QueryGuardrail) else []
