"""The running task of ramp, stage and approval: observe, decide, act, and wait in the triggerer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef
from airflow_provider_ampexp.exceptions import AmplitudeTaskError, retry_while_unavailable
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators._outdated_run import refuse_a_ramp
from airflow_provider_ampexp.operators._rollout.approval_request import with_response
from airflow_provider_ampexp.operators._rollout.experiment_group_note import note_group_share
from airflow_provider_ampexp.operators._rollout.exposure_warnings import warn_of_reach
from airflow_provider_ampexp.operators._rollout.group_start import group_began
from airflow_provider_ampexp.operators._rollout.pending_rollback import pending_rollback_reason
from airflow_provider_ampexp.operators._rollout.record import plan_edited, rebuilt, record_on_error
from airflow_provider_ampexp.operators._rollout.task import RolloutTask
from airflow_provider_ampexp.polling._rollout_wait import RolloutWait
from airflow_provider_ampexp.polling._statuses import SoakStatus
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.reconcile._loop import reconcile
from airflow_provider_ampexp.rollout._history import observed_at
from airflow_provider_ampexp.rollout._own_steps import began_after_a_clear
from airflow_provider_ampexp.rollout._state import RolloutState

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.ensure import ChangeResultXCom
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.rollout._plan import IfChangedSince


class ReconcilingTask(RolloutTask):
    """A running task that carries out stages of a rollout, and waits between its steps."""

    def initial_state(self) -> RolloutState:
        """Return the state of the rollout at the start of an attempt."""
        context, plan, flag, operator = self.context, self.plan, self.flag, self.operator
        attempt = attempts.this_attempt(context, operator.retries, observed_at(flag.seen, flag.now))
        began = None
        if operator.is_continuation and not attempt.was_cleared:
            began = began_after_a_clear(plan, flag.seen.history, group_began(context, operator, flag.now))
        elif attempt.is_retry:
            began = attempt.first_began or attempts.run_began(context, flag.now)
            if attempt.was_cleared:
                began = began_after_a_clear(plan, flag.seen.history, began)
        owed = plan.checked and plan.preflight
        failed, now = pending_rollback_reason(context), plan.as_json()
        return rebuilt(
            self, RolloutState(began, attempt.is_retry, rollback_reason=failed, preflight_owed=owed, plan=now)
        )

    def carry_out(self, state: RolloutState) -> ChangeResultXCom:
        """Refuse an outdated run, warn about other users with the feature, and carry out the plan."""
        if not state.is_retry:
            then = cast("IfChangedSince", self.plan.if_changed_since)
            refuse_a_ramp(self.context, self.plan, self.flag, self.described, then)
        if not self.operator.is_continuation:
            state = warn_of_reach(self, note_group_share(self, state))
        return self.outcome(reconcile(self.plan, self.flag, state, self))

    def resume(
        self, event: Mapping[str, Any], watch: Mapping[str, Any] | None, memory: dict[str, Any] | None
    ) -> ChangeResultXCom:
        """Continue after a wait.

        :param event: of the trigger
        :param watch: the condition of the wait; in the event if not given
        :param memory: the state of the rollout at the beginning of the wait, as JSON; in the event if not given
        """
        event = _own_event(self.context, event)
        watch, memory = watch or event.get("watch"), memory or event.get("memory")
        state = None if memory is None else RolloutState.from_json(memory)
        if state is not None:
            self.alerts.set_sent(state.alerted)
        with self.alerts.alert_of_errors():
            status = event.get("status")
            if status == SoakStatus.ERROR:
                raise AirflowFailException(_watch_failed(self.described, watch, str(event.get("why"))))
            if status not in (SoakStatus.DUE, SoakStatus.CHANGED) or watch is None or state is None:
                raise AmplitudeTaskError(f"The trigger ended with an unknown event: {event!r}.")
            with error_context(f"ramp {self.described}", has_begun=True), self.operator.hook() as hook:
                self.plan = self.operator.plan()
                retry_while_unavailable(lambda: hook.fields)
                state = self._observe(hook, watch, state, event)
                return self.finish(hook, self.outcome(reconcile(self.plan, self.flag, state, self)))

    def _observe(
        self,
        hook: AmplitudeExperimentHook,
        watch: Mapping[str, Any],
        state: RolloutState,
        event: Mapping[str, Any],
    ) -> RolloutState:
        """Observe the flag after the wait, and return the state."""
        watched = _known_wait(watch)
        if watched is not None:
            target = FlagRef(watched.kind, id=watched.id)
            self.flag = ManagedFlag(hook.client, target, self.plan.segment, self.plan.catch_all, state.audience)
            self.flag.known_clock_error = watched.local_clock_error
        else:
            self.flag = self.find_flag(hook, self.operator.target(self.operator.project_of(hook)))
        state = with_response(state, self.plan, event, self.flag.now)
        if watched is not None:
            with record_on_error(self, state):
                self.flag.observe(archived=bool(event.get("archived")))
        self.open_files()
        return plan_edited(self, state.with_listed(event.get("audience")))


def _own_event(context: Context, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the event with a status. An event of another task only wakes this one.

    SQLite reuses the id of a trigger, so an event of another task can arrive. Airflow 3.3 gives the answer of an
    approval directly to the waiting task, without a status.
    """
    ti = context.get("ti")
    if ti is not None and event.get("ti_id") not in (None, str(ti.id)):
        return {"status": SoakStatus.CHANGED}
    return {"status": SoakStatus.CHANGED, **event} if "chosen_options" in event else event


def _known_wait(watch: Mapping[str, Any]) -> RolloutWait | None:
    """Return the wait that was stored; ``None`` if another version of this provider stored it in another form."""
    return RolloutWait.from_plain(watch) if "kind" in watch and "id" in watch else None


def _watch_failed(described: str, watch: Mapping[str, Any] | None, why: str) -> str:
    watched = _known_wait(watch or {})
    stays = "as it is" if watched is None else f"at {watched.exposure}"
    return (
        f"Watching {described} failed: {why} The flag stays {stays}, and no guardrail runs. Correct the connection, "
        "then clear this task."
    )
