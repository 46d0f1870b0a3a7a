"""``AmplitudeRollbackOperator``: takes a flag back when a task of its rollout failed, by itself or by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef
from airflow_provider_ampexp.ensure._errors import SegmentLostError
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._bounded_call import call_bounded
from airflow_provider_ampexp.operators._rollout.alerts import Alerts, send_alert
from airflow_provider_ampexp.operators._rollout.base import RolloutOperator
from airflow_provider_ampexp.operators._rollout.last_words import ended_with_last_words
from airflow_provider_ampexp.operators._rollout.lowering import confirmed, lower, lowered_line
from airflow_provider_ampexp.operators._rollout.record import begin_file, push_record, take_notes
from airflow_provider_ampexp.operators._rollout.stage import AmplitudeStageOperator
from airflow_provider_ampexp.operators._rollout.task import RolloutTask
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import Abort, Complete, RollBack, RolloutPlan, RolloutState
from airflow_provider_ampexp.rollout._reasons import AbortCause
from airflow_provider_ampexp.rollout._record import What
from airflow_provider_ampexp.rollout._teardown import decide_teardown

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_ampexp.client import ManagementClient

_FAILED = ("failed", "upstream_failed")


class AmplitudeRollbackOperator(RolloutOperator):
    """Take the flag back to where its rollout says, when a task before this one failed.

    The last task of :func:`~airflow_provider_ampexp.task_groups.rollout.staged_rollout`, as a teardown: it runs
    however the stages ended, and is skipped where there is nothing to take back: nothing failed, nothing was raised in
    this run, or a person changed the flag meanwhile, which is left as it is. Where a stage rolled back by itself, it
    confirms that.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators.rollout.AmplitudeRampRolloutOperator`, so that it
    knows the whole rollout; it raises nothing.
    """

    ui_color = "#f8d7d0"

    def first_look(self, context: Context, plan: RolloutPlan, client: ManagementClient, target: FlagRef) -> ManagedFlag:
        """Find the flag. A segment that is lost cannot be lowered, which a person has to know if a stage failed."""
        try:
            return super().first_look(context, plan, client, target)
        except SegmentLostError as error:
            if failed := self._failed_tasks(context):
                raise AirflowFailException(
                    f"ROLLBACK NOT CONFIRMED. The rollout of {self.described()} has failed ({', '.join(failed)}), and "
                    f"the segment cannot be lowered: {error} Look at the flag in Amplitude now."
                ) from None
            raise AirflowSkipException(f"Nothing failed, and nothing is taken back. {error}") from None

    def reason_to_roll_back(self, context: Context) -> str | None:
        """The tasks that failed, unless one of them has told of the end of the rollout."""
        failed = self._failed_tasks(context)
        of_stages = Alerts.of(self, context, ())
        of_stages.learn_from(self.upstream_task_ids)
        return f"failed: {', '.join(failed)}" if failed and not {"rollback", "abort"} & of_stages.sent else None

    def initial_state(self, context: Context, plan: RolloutPlan, flag: ManagedFlag) -> RolloutState:
        """Everything since the run began counts."""
        return RolloutState(attempts.run_began(context, flag.now))

    @property
    def is_continuation(self) -> bool:
        """The stages began the rollout, and told what keeps users out."""
        return True

    def carry_out(self, task: RolloutTask, state: RolloutState) -> ChangeResultXCom:
        """Look at what failed and at the flag, and take it back once."""
        context, plan, flag = task.context, task.plan, task.flag
        failed = self._failed_tasks(context)
        if not failed:
            raise AirflowSkipException(f"Nothing failed: {self.described()} stays at {flag.seen.position}.")
        if plan.on_hold_timeout == "stop" and self._held_too_long(context, failed):
            why = "the guardrails held it for too long, and on_hold_timeout='stop' leaves it there"
            self._leave(task, state.looked(plan, flag.seen, flag.now), why, AbortCause.HELD.value)
        why = f"failed: {', '.join(failed)}"
        act = decide_teardown(plan, flag.seen, state, flag.now, why, self._finished_stages(context))
        state = state.looked(plan, flag.seen, flag.now)
        before, since = flag.seen.position, flag.since(state)
        if isinstance(act, RollBack) and act.to is not None:
            with ended_with_last_words(task, state, ""):
                lower(task, act.to, act.why)
            after = flag.seen.position
            how = confirmed(flag)
            self.log.warning("Rolled back %s from %s to %s, %s: %s.", self.described(), before, after, how, act.why)
            line = lowered_line(flag, before, since, act.why)
            state = take_notes(task, state).recorded("rollback", flag.now, line)
            begin_file(task, state)
            done = f"Rolled back {self.described()} from {before} to {after}, {how}: {act.why}."
            task.alerts.learn_from(self.upstream_task_ids)
            send_alert(task, "rollback", done, act.why, before=before, to=after, confirmed=True)
        elif isinstance(act, Complete):
            self.log.info("%s stands at %s, %s: %s.", self.described(), before, confirmed(flag), act.why)
            state = state.recorded("confirmed", flag.now, {"why": act.why})
            task.alerts.learn_from(self.upstream_task_ids)
            stands = f"{self.described()} stands at {before}, {confirmed(flag)}: {act.why}."
            send_alert(task, "rollback", stands, act.why, confirmed=True)
        elif isinstance(act, Abort) and act.cause is AbortCause.UNKNOWN:
            failed_to = (
                f"Rollback of {self.described()} failed: {act.why}. USERS STILL GET IT at {before}. "
                "Lower it in Amplitude."
            )
            task.alerts.learn_from(self.upstream_task_ids)
            send_alert(task, "rollback", failed_to, act.why, before=before, confirmed=False)
            _keep_end("stop", task, state, act.why)
            raise AirflowFailException(failed_to)
        elif isinstance(act, RollBack):
            self._leave(task, state, act.kept, "not lowered")
        else:
            self._leave(task, state, act.why, act.cause.value)
        outcome = self.outcome(task, state)
        return {**outcome, "changed": before != flag.seen.position, "before": before.percentage}

    def _leave(self, task: RolloutTask, state: RolloutState, why: str, cause: str) -> NoReturn:
        left = f"Left {self.described()} as it is, at {task.flag.seen.position}: {why}."
        if cause != AbortCause.BEHIND:  # then this run has raised nothing, and left nothing
            task.alerts.learn_from(self.upstream_task_ids)
            if "rollback" not in task.alerts.sent:
                send_alert(task, "abort", left, why, cause=cause)
        _keep_end("left", task, state, why)
        raise AirflowSkipException(left)

    def _failed_tasks(self, context: Context) -> list[str]:
        ti = context.get("ti")
        if ti is None:
            return ["a task"]  # asked for outside of Airflow, where nothing else can have been meant
        return [task for task, state in self._states(ti).items() if state in _FAILED]

    def _held_too_long(self, context: Context, failed: list[str]) -> bool:
        """Whether a stage stopped since guardrails held it, as its record tells. Without a record it goes back."""
        if (ti := context.get("ti")) is None:
            return False
        found = call_bounded("tell why a stage failed", lambda: ti.xcom_pull(task_ids=failed, key=RECORD_XCOM), None)
        ends = [record[-1] for record in found or () if isinstance(record, list) and record]
        return any(
            end.get("what") == "stop" and end.get("cause") == AbortCause.HELD for end in ends if isinstance(end, dict)
        )

    def _finished_stages(self, context: Context) -> list[int]:
        """The stages whose tasks ended well, by themselves or by hand: what followed them was no stranger's raise."""
        ti, dag = context.get("ti"), self.get_dag()
        if ti is None or dag is None:
            return []
        tasks = [dag.get_task(task) for task, state in self._states(ti).items() if state == "success"]
        return [task.percentage for task in tasks if isinstance(task, AmplitudeStageOperator)]

    def _states(self, ti: RuntimeTaskInstanceProtocol) -> dict[str, str | None]:
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=sorted(self.upstream_task_ids), run_ids=[ti.run_id])
        found: dict[str, str | None] = states.get(ti.run_id, {})
        return found


def _keep_end(what: What, task: RolloutTask, state: RolloutState, why: str) -> None:
    push_record(task, state.recorded(what, task.flag.now, {"why": why}))
