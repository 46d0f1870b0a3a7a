"""``AmplitudeRollbackOperator``: takes a flag back when a task of its rollout failed, by itself or by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef
from airflow_provider_ampexp.ensure._errors import SegmentLostError
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._bounded_call import call_bounded
from airflow_provider_ampexp.operators._rollout.alerts import Alerts, send_alert
from airflow_provider_ampexp.operators._rollout.last_words import ended_with_last_words
from airflow_provider_ampexp.operators._rollout.lowering import confirmed, lower, lowered_line
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator
from airflow_provider_ampexp.operators._rollout.record import begin_file, log_warnings, push_record
from airflow_provider_ampexp.operators._rollout.stage import AmplitudeStageOperator
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import Abort, Complete, RollBack, RolloutPlan, RolloutState
from airflow_provider_ampexp.rollout._record import What
from airflow_provider_ampexp.rollout._teardown import decide_teardown

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_ampexp.client import ManagementClient

_FAILED = ("failed", "upstream_failed")


class AmplitudeRollbackOperator(AmplitudeRampRolloutOperator):
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

    def reconcile(
        self, context: Context, plan: RolloutPlan, flag: ManagedFlag, memory: RolloutState
    ) -> ChangeResultXCom:
        """Look at what failed and at the flag, and take it back once."""
        failed = self._failed_tasks(context)
        if not failed:
            raise AirflowSkipException(f"Nothing failed: {self.described()} stays at {flag.seen.position}.")
        if plan.on_hold_timeout == "stop" and self._held_too_long(context, failed):
            why = "the guardrails held it for too long, and on_hold_timeout='stop' leaves it there"
            self._leave(context, flag, memory.looked(plan, flag.seen, flag.now), why, "held")
        why = f"failed: {', '.join(failed)}"
        act = decide_teardown(plan, flag.seen, memory, flag.now, why, self._finished_stages(context))
        memory = memory.looked(plan, flag.seen, flag.now)
        before, since = flag.seen.position, flag.since(memory)
        if isinstance(act, RollBack) and act.to is not None:
            with ended_with_last_words(context, flag, memory, "", self.log):
                lower(context, flag, act.to, act.why, self.described())
            after = flag.seen.position
            how = confirmed(flag)
            self.log.warning("Rolled back %s from %s to %s, %s: %s.", self.described(), before, after, how, act.why)
            line = lowered_line(flag, before, since, act.why)
            memory = log_warnings(flag, memory, self.log).recorded("rollback", flag.now, line)
            begin_file(flag, memory)
            done = f"Rolled back {self.described()} from {before} to {after}, {how}: {act.why}."
            self._learn_alerts(flag)
            send_alert(flag, "rollback", done, act.why, before=before, to=after, confirmed=True)
        elif isinstance(act, Complete):
            self.log.info("%s stands at %s, %s: %s.", self.described(), before, confirmed(flag), act.why)
            memory = memory.recorded("confirmed", flag.now, {"why": act.why})
            self._learn_alerts(flag)
            stands = f"{self.described()} stands at {before}, {confirmed(flag)}: {act.why}."
            send_alert(flag, "rollback", stands, act.why, confirmed=True)
        elif isinstance(act, Abort) and act.cause == "unknown":
            failed_to = (
                f"Rollback of {self.described()} failed: {act.why}. USERS STILL GET IT at {before}. "
                "Lower it in Amplitude."
            )
            self._learn_alerts(flag)
            send_alert(flag, "rollback", failed_to, act.why, before=before, confirmed=False)
            self._keep_end("stop", context, flag, memory, act.why)
            raise AirflowFailException(failed_to)
        elif isinstance(act, RollBack):
            self._leave(context, flag, memory, act.kept, "not lowered")
        else:
            self._leave(context, flag, memory, act.why, act.cause)
        outcome = self.outcome(context, flag, memory)
        return {**outcome, "changed": before != flag.seen.position, "before": before.percentage}

    def _leave(self, context: Context, flag: ManagedFlag, memory: RolloutState, why: str, cause: str) -> NoReturn:
        left = f"Left {self.described()} as it is, at {flag.seen.position}: {why}."
        if cause != "behind":  # then this run has raised nothing, and left nothing
            self._learn_alerts(flag)
            if isinstance(flag.alerts, Alerts) and "rollback" not in flag.alerts.sent:
                send_alert(flag, "abort", left, why, cause=cause)
        self._keep_end("left", context, flag, memory, why)
        raise AirflowSkipException(left)

    def _learn_alerts(self, flag: ManagedFlag) -> None:
        """What the stages have told is told once. They are asked after the rollback, which waits for nothing."""
        if isinstance(flag.alerts, Alerts):
            flag.alerts.learn_from(self.upstream_task_ids)

    def _keep_end(self, what: What, context: Context, flag: ManagedFlag, memory: RolloutState, why: str) -> None:
        push_record(context, flag, memory.recorded(what, flag.now, {"why": why}))

    def _failed_tasks(self, context: Context) -> list[str]:
        ti = context.get("ti")
        if ti is None:
            return ["a task"]  # asked for outside of Airflow, where nothing else can have been meant
        return [task for task, state in self._states(ti).items() if state in _FAILED]

    def _held_too_long(self, context: Context, failed: list[str]) -> bool:
        """Whether a stage stopped since guardrails held it, as its record tells. Without a record it goes back."""
        if (ti := context.get("ti")) is None:
            return False
        found = call_bounded("tell why a stage failed", lambda: ti.xcom_pull(task_ids=failed, key="rollout"), None)
        ends = [record[-1] for record in found or () if isinstance(record, list) and record]
        return any(end.get("what") == "stop" and end.get("cause") == "held" for end in ends if isinstance(end, dict))

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
