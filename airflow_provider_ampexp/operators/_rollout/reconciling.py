"""``ReconcilingOperator``: what ramp, stage and approval share: observe, decide, act, and wait in the triggerer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef
from airflow_provider_ampexp.exceptions import AmplitudeTaskError, patiently
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._asset_events import emit_asset_events
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators._outdated_run import refuse_a_ramp
from airflow_provider_ampexp.operators._rollout.alerts import Alerts
from airflow_provider_ampexp.operators._rollout.approval_request import with_response
from airflow_provider_ampexp.operators._rollout.base import RolloutOperator
from airflow_provider_ampexp.operators._rollout.exposure_warnings import warn_of_reach
from airflow_provider_ampexp.operators._rollout.failure_note import pending_rollback_reason
from airflow_provider_ampexp.operators._rollout.record import plan_edited, rebuilt, record_on_error
from airflow_provider_ampexp.operators._rollout.task import RolloutTask
from airflow_provider_ampexp.polling._soak_condition import SoakCondition
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.reconcile._loop import reconcile
from airflow_provider_ampexp.rollout import RolloutPlan, RolloutState
from airflow_provider_ampexp.rollout._own_steps import began_after_a_clear

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.rollout._plan import IfChangedSince


class ReconcilingOperator(RolloutOperator):
    """A task that carries out stages of a rollout, and waits between its steps."""

    def initial_state(self, context: Context, plan: RolloutPlan, flag: ManagedFlag) -> RolloutState:
        """What an attempt knows before its first look."""
        attempt = attempts.this_attempt(context, self.retries, flag.now)
        began = None
        if attempt.is_retry or (self.is_continuation and not attempt.was_cleared):
            began = attempt.cleared_at or attempts.run_began(context, flag.now)
            if attempt.was_cleared or self.is_continuation:
                began = began_after_a_clear(plan, flag.seen.history, began)
        owed = plan.checked and plan.preflight
        failed, now = pending_rollback_reason(context), plan.as_json()
        return RolloutState(began, attempt.is_retry, failed=failed, preflight_owed=owed, plan=now)

    def carry_out(self, task: RolloutTask, state: RolloutState) -> ChangeResultXCom:
        """Refuse what is out of date, warn of who gets the feature besides, and carry out the plan."""
        state = rebuilt(task, state)
        if not state.is_retry:
            then = cast("IfChangedSince", task.plan.if_changed_since)
            refuse_a_ramp(task.context, task.plan, task.flag, task.described, then)
        if not self.is_continuation:
            state = warn_of_reach(task, state)
        return self._reconcile(task, state)

    def resume(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        watch: dict[str, Any] | None = None,
        memory: dict[str, Any] | None = None,
    ) -> ChangeResultXCom:
        """Go on after a wait.

        :param event: why the wait is over. What is remembered besides the flag is in it, too: ``dag.test()`` and
            ``airflow dags test`` lose the two arguments that follow.
        :param watch: what was waited for
        :param memory: what is remembered besides the flag
        """
        event = _own_event(context, event or {})
        watch, memory = watch or event.get("watch"), memory or event.get("memory")
        alerts = Alerts.of(self, context, None if memory is None else RolloutState.from_json(memory).alerted)
        with alerts.alert_of_errors():
            status = event.get("status")
            if status == "error":
                why = event.get("why")
                raise AirflowFailException(
                    f"Failed to watch {self.described()} during its soak: {why} It stays as it is."
                )
            if status not in ("due", "changed") or watch is None or memory is None:
                raise AmplitudeTaskError(f"The trigger ended with an event that this version does not know: {event!r}.")
            with error_context(f"ramp {self.described()}", has_begun=True), self.hook() as hook:
                plan = self.plan()
                patiently(lambda: hook.fields)
                task = RolloutTask(self, context, plan, self._watched_flag(hook, plan, watch), alerts)
                return self._go_on(task, hook, watch, memory, event)

    def _watched_flag(self, hook: AmplitudeExperimentHook, plan: RolloutPlan, watch: Mapping[str, Any]) -> ManagedFlag:
        """The flag that was waited for, which was not observed again yet."""
        if "kind" in watch and "id" in watch:
            watched = SoakCondition.from_plain(watch)
            target = FlagRef(watched.kind, id=watched.id)
            flag = ManagedFlag(hook.client, target, plan.segment, plan.catch_all)
            flag.known_clock_error = watched.local_clock_error
        else:  # another version of this provider left it
            flag = ManagedFlag.find(hook.client, self.target(self.project_of(hook)), plan.segment, plan.catch_all)
        self._flag = flag
        return flag

    def _go_on(
        self,
        task: RolloutTask,
        hook: AmplitudeExperimentHook,
        watch: Mapping[str, Any],
        memory: Mapping[str, Any],
        event: Mapping[str, Any],
    ) -> ChangeResultXCom:
        flag = task.flag
        state = with_response(RolloutState.from_json(memory), task.plan, event, flag.now)
        if "kind" in watch and "id" in watch:
            with record_on_error(task, state):
                flag.look(archived=bool(event.get("archived")))
        task.open_record_file()
        state = plan_edited(task, state.with_listed(event.get("audience")))
        outcome = self._reconcile(task, state)
        emit_asset_events(self, task.context, hook, flag.target.kind, outcome)
        return outcome

    def _reconcile(self, task: RolloutTask, state: RolloutState) -> ChangeResultXCom:
        return self.outcome(task, reconcile(task.plan, task.flag, state, task))


def _own_event(context: Context, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event, as far as it is for this task, and with a status.

    SQLite gives a trigger's id to the next one, so that an event of another task may arrive: it only wakes this one.
    Airflow 3.3 gives the answer of an approval to the waiting task itself, without a status.
    """
    ti = context.get("ti")
    if ti is not None and event.get("ti_id") not in (None, str(ti.id)):
        return {"status": "changed"}
    return {"status": "changed", **event} if "chosen_options" in event else event
