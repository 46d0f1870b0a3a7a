"""``RolloutTask``: a running task of a rollout. The loop of the rollout uses Airflow through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef, flag_url
from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._airflow_call import call_airflow
from airflow_provider_ampexp.operators._asset_events import emit_asset_events
from airflow_provider_ampexp.operators._attempts import is_automatic_retry
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators._rollout import (
    alerts,
    approval_request,
    interruption,
    preview_raise,
    record,
    rollback,
    run_guardrails,
    stop,
    waiting,
)
from airflow_provider_ampexp.operators._rollout.alerts import Alerts
from airflow_provider_ampexp.operators._rollout.heartbeat_file import HeartbeatFile
from airflow_provider_ampexp.operators._rollout.pending_rollback import PendingRollback, pending_rollback_reason
from airflow_provider_ampexp.operators._rollout.plan_xcom import push_plan
from airflow_provider_ampexp.operators._rollout.record_file import RecordFile
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout._history import observed_at
from airflow_provider_ampexp.rollout._plan import FOLDERS

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.operators._rollout.base import RolloutOperator
    from airflow_provider_ampexp.rollout import RolloutPlan
    from airflow_provider_ampexp.rollout._actions import Abort, Action, PreviewRaise, RollBack, Wait
    from airflow_provider_ampexp.rollout._state import RolloutState
    from airflow_provider_ampexp.rollout._vocabulary import HeartbeatEnd


class RolloutTask(ABC):
    """A running task of a rollout: its flag, its plan, its record and its alerts.

    It is the :class:`~airflow_provider_ampexp.reconcile._loop.RolloutPort`.
    """

    plan: RolloutPlan
    flag: ManagedFlag

    def __init__(self, operator: RolloutOperator, context: Context) -> None:
        self.operator = operator
        self.context = context
        self.alerts = Alerts(operator, context, self.reason_to_roll_back)
        self.guardrails = operator.guardrails
        self.described = operator.described()
        self.logger = operator.log
        self.pending_rollback = PendingRollback()
        self.record_file: RecordFile | None = None
        self.heartbeat: HeartbeatFile | None = None

    @abstractmethod
    def initial_state(self) -> RolloutState:
        """Return the state of the rollout at the start of an attempt."""

    @abstractmethod
    def carry_out(self, state: RolloutState) -> ChangeResultXCom:
        """Do the work of this task with the observed flag."""

    def reason_to_roll_back(self) -> str | None:
        """Return why this task must roll back before it reads the flag. Only the task of a group has a reason."""
        return None

    def execute(self) -> ChangeResultXCom:
        """Start, or continue after a crash from the flag and its history."""
        operator = self.operator
        has_begun = operator.is_continuation or is_automatic_retry(self.context, operator.retries)
        # The connection comes before other calls to Airflow, which may hang.
        with (
            self.alerts.alert_of_errors(),
            error_context(self._purpose, has_begun=has_begun),
            operator.hook() as hook,
        ):
            self.plan = operator.plan()
            target = operator.target(operator.project_of(hook))
            if not has_begun:
                for name in FOLDERS:
                    arguments.optional(arguments.folder)(name, getattr(operator, name))
            self.flag = self.find_flag(hook, target)
            self.open_files()
            state = self.initial_state()
            began = state.run_began or observed_at(self.flag.seen, self.flag.now)
            call_airflow("store the plan of the rollout", lambda: self._show(hook, began), None)
            return self.finish(hook, self.carry_out(state))

    def find_flag(self, hook: AmplitudeExperimentHook, target: FlagRef) -> ManagedFlag:
        """Find and observe the flag."""
        return ManagedFlag.find(hook.client, target, self.plan.segment, self.plan.catch_all)

    def finish(self, hook: AmplitudeExperimentHook, outcome: ChangeResultXCom) -> ChangeResultXCom:
        """Emit the asset events of the changes, and return the outcome."""
        emit_asset_events(self.operator, self.context, hook, self.flag.target.kind, outcome)
        return outcome

    def outcome(self, state: RolloutState) -> ChangeResultXCom:
        """Store the record, and return the exposure before and after."""
        record.push_record(self, state)
        flag = self.flag
        start, end = state.start or flag.seen.exposure, flag.seen.exposure
        return {
            "id": flag.id,
            "key": flag.config.get("key"),
            "changed": start != end,
            "before": start.percentage,
            "after": end.percentage,
            "url": flag_url(flag.client, flag.config),
        }

    def open_files(self) -> None:
        """Find the files of the record and of the heartbeat, once the flag is known."""
        self.record_file = RecordFile.of(self.context, self.operator.record_path, self.flag)
        self.heartbeat = HeartbeatFile.of(self.context, self.operator.heartbeat_path, self.plan, self.flag)

    def log_interruption(self) -> None:
        """Log what users still get, when Airflow kills the task."""
        flag = getattr(self, "flag", None)
        if flag is not None and flag.interruption_message:
            self.logger.error("%s (ended from outside)", flag.interruption_message)

    def log(self, text: str) -> None:
        """Log one line about the flag."""
        self.logger.info("%s: %s", self.described, text)

    def take_notes(self, state: RolloutState) -> RolloutState:
        """Log and record the notes of the flag."""
        return record.take_notes(self, state)

    def write_heartbeat(self, action: Action, state: RolloutState) -> None:
        """Write when the next step is due, for the watchdog."""
        if self.heartbeat is not None:
            self.heartbeat.before(action, self.plan, self.flag, state)

    def end_heartbeat(self, ended: HeartbeatEnd) -> None:
        """Write how the rollout ended, for the watchdog."""
        if self.heartbeat is not None:
            self.heartbeat.end(self.flag, ended)

    def alert_of_holds(self, action: Action, state: RolloutState) -> None:
        """Alert when the guardrails or a tag begin to hold the rollout."""
        alerts.alert_of_holds(self, action, state)

    def interruptible(self, action: Action, state: RolloutState) -> AbstractContextManager[None]:
        """Log and record what users still get, if the task is interrupted within this."""
        return interruption.log_interruption(self, state, interruption.interruption_message(self, action))

    def recorded_on_error(self, state: RolloutState) -> AbstractContextManager[None]:
        """Make an error within this the last line of the record."""
        return record.record_on_error(self, state)

    def rollback_guard(self, action: RollBack) -> AbstractContextManager[None]:
        """Report an error within this as a rollback that is not confirmed."""
        return rollback.rollback_guard(self, action.to, action.why)

    def keep_record(self, state: RolloutState) -> None:
        """Begin to write the record, without waiting."""
        record.begin_file(self, state)

    def run_guardrails(self, state: RolloutState) -> RolloutState:
        """Run the guardrails at the present stage."""
        return run_guardrails.run_all(self, state)

    def run_preflight(self, state: RolloutState) -> RolloutState:
        """Run each guardrail once to see whether it works."""
        return run_guardrails.preflight_guardrails(self, state)

    def preview_raise(self, action: PreviewRaise, state: RolloutState) -> RolloutState:
        """Find out who enters with the next raise."""
        return preview_raise.preview_raise(self, action, state)

    def request_approval(self, state: RolloutState) -> RolloutState:
        """Request the approval of the next stage."""
        return approval_request.request_approval(self, state)

    def wait(self, action: Wait, state: RolloutState) -> RolloutState:
        """Wait in the triggerer or on the worker, and observe the flag again."""
        return waiting.wait(self, action, state)

    def roll_back(self, action: RollBack, state: RolloutState) -> NoReturn:
        """Roll the flag back, and end the task."""
        rollback.roll_back(self, action, state)

    def abort(self, action: Abort, state: RolloutState) -> NoReturn:
        """Leave the flag as it is, and end the task."""
        stop.abort(self, action, state)

    def _show(self, hook: AmplitudeExperimentHook, began: datetime) -> None:
        push_link(self.context, flag_url(hook.client, self.flag.config))
        push_plan(self.context, self.plan, self.flag, hook.amplitude_conn_id, began)

    def _purpose(self) -> str:
        """Return the purpose of this attempt, for its errors."""
        failed = pending_rollback_reason(self.context)
        if failed is None:
            return f"ramp {self.described}"
        return (
            f"ROLLBACK NOT CONFIRMED for {self.described}. USERS PROBABLY STILL GET IT. Check the flag in Amplitude "
            f"now. Reason for the rollback: {failed}. Cause"
        )
