"""``RolloutTask``: a task of a rollout while it runs, which is how the loop of the rollout reaches Airflow."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_ampexp.operators._rollout import (
    alerts,
    approval_request,
    last_words,
    lowering,
    record,
    run_guardrails,
    soak,
    termination,
)
from airflow_provider_ampexp.operators._rollout.failure_note import FailureNote
from airflow_provider_ampexp.operators._rollout.record_file import RecordFile

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.operators._rollout.base import RolloutOperator
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import Abort, RollBack, RolloutPlan, RolloutState, Wait
    from airflow_provider_ampexp.rollout._actions import Action


class RolloutTask:
    """A task of a rollout while it runs: its flag, its plan, its record and its alerts.

    It is the :class:`~airflow_provider_ampexp.reconcile._loop.RolloutPort`.
    """

    def __init__(
        self,
        operator: RolloutOperator,
        context: Context,
        plan: RolloutPlan,
        flag: ManagedFlag,
        alerts: alerts.Alerts,
    ) -> None:
        self.operator = operator
        self.context = context
        self.plan = plan
        self.flag = flag
        self.alerts = alerts
        self.guardrails = operator.guardrails
        self.described = operator.described()
        self.logger = operator.log
        self.failure_note = FailureNote()
        self.record_file: RecordFile | None = None

    def open_record_file(self) -> None:
        """Find the file of the record, once the flag is known."""
        self.record_file = RecordFile.of(self.context, self.operator.record_path, self.flag)

    def log(self, text: str) -> None:
        """Log one line about the flag."""
        self.logger.info("%s: %s", self.described, text)

    def take_notes(self, state: RolloutState) -> RolloutState:
        """Log and record the notes of the flag."""
        return record.take_notes(self, state)

    def alert_of_holds(self, action: Action, state: RolloutState) -> None:
        """Alert when the guardrails or a tag begin to hold the rollout."""
        alerts.alert_of_holds(self, action, state)

    def interruptible(self, action: Action, state: RolloutState) -> AbstractContextManager[None]:
        """Log and record what users still get, if the task is interrupted within this."""
        return last_words.ended_with_last_words(self, state, last_words.last_words(self, action))

    def recorded_on_error(self, state: RolloutState) -> AbstractContextManager[None]:
        """Make an error within this the last line of the record."""
        return record.record_on_error(self, state)

    def rollback_guard(self, action: RollBack) -> AbstractContextManager[None]:
        """Report an error within this as a rollback that is not confirmed."""
        return lowering.rollback_guard(self, action.to, action.why)

    def keep_record(self, state: RolloutState) -> None:
        """Begin to write the record, without waiting."""
        record.begin_file(self, state)

    def run_guardrails(self, state: RolloutState) -> RolloutState:
        """Ask the guardrails about the present stage."""
        return run_guardrails.ask_guardrails(self, state)

    def run_preflight(self, state: RolloutState) -> RolloutState:
        """Ask the guardrails whether they can answer at all."""
        return run_guardrails.preflight_guardrails(self, state)

    def request_approval(self, state: RolloutState) -> RolloutState:
        """Ask a person to approve the next stage."""
        return approval_request.request_approval(self, state)

    def wait(self, action: Wait, state: RolloutState) -> RolloutState:
        """Wait in the triggerer or on the worker, and observe the flag again."""
        return soak.wait(self, action, state)

    def roll_back(self, action: RollBack, state: RolloutState) -> NoReturn:
        """Take the flag back, and end the task."""
        termination.roll_back(self, action, state)

    def stop(self, action: Abort, state: RolloutState) -> NoReturn:
        """Leave the flag as it is, and end the task."""
        termination.stop(self, action, state)
