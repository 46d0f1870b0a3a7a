"""The running rollback task of a group: it rolls the flag back once, if a task of the group failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_ampexp._keys import RECORD_XCOM
from airflow_provider_ampexp.ensure._errors import SegmentLostError
from airflow_provider_ampexp.operators._rollout.alerts import Alerts, of_same_index, pull_xcoms, send_alert
from airflow_provider_ampexp.operators._rollout.exposure_warnings import read_included_cohorts
from airflow_provider_ampexp.operators._rollout.group_start import group_began
from airflow_provider_ampexp.operators._rollout.interruption import log_interruption
from airflow_provider_ampexp.operators._rollout.record import begin_file, push_record, take_notes
from airflow_provider_ampexp.operators._rollout.rollback import (
    describe_confirmation,
    rollback_line,
    write_rollback,
)
from airflow_provider_ampexp.operators._rollout.stage import AmplitudeStageOperator
from airflow_provider_ampexp.operators._rollout.task import RolloutTask
from airflow_provider_ampexp.rollout._actions import Abort, Complete, RollBack
from airflow_provider_ampexp.rollout._group_rollback import decide_group_rollback
from airflow_provider_ampexp.rollout._history import Exposure
from airflow_provider_ampexp.rollout._state import RolloutState
from airflow_provider_ampexp.rollout._vocabulary import AbortCause, HeartbeatEnd, RecordKind

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout._record import RecordLine

_FAILED = ("failed", "upstream_failed")
_KEPT = {
    AbortCause.HELD: "the guardrails held the rollout longer than hold_timeout, and on_hold_timeout='stop' leaves it",
    AbortCause.REFUSED: "the preview refused the next stage",
}


class RollbackTask(RolloutTask):
    """A running rollback task."""

    def find_flag(self, hook: AmplitudeExperimentHook, target: FlagRef) -> ManagedFlag:
        """Find the flag. A lost segment cannot be lowered, which a person must know if a stage failed."""
        try:
            return super().find_flag(hook, target)
        except SegmentLostError as error:
            if failed := self._failed_tasks():
                raise AirflowFailException(
                    f"ROLLBACK NOT CONFIRMED for {self.described}: the segment cannot be lowered. Check the flag in "
                    f"Amplitude now. Reason for the rollback: failed: {', '.join(failed)}. Cause: {error}"
                ) from None
            raise AirflowSkipException(f"No task failed, so nothing is rolled back. {error}") from None

    def reason_to_roll_back(self) -> str | None:
        """The tasks that failed, unless one of them has alerted of the end of the rollout."""
        failed = self._failed_tasks()
        of_stages = Alerts(self.operator, self.context, sent=())
        of_stages.learn_from(self._own_stages)
        return f"failed: {', '.join(failed)}" if failed and not {"rollback", "abort"} & of_stages.sent else None

    def initial_state(self) -> RolloutState:
        """The changes since the run began count."""
        return RolloutState(group_began(self.context, self.operator, self.flag.now))

    def carry_out(self, state: RolloutState) -> ChangeResultXCom:
        """Read which tasks failed, and roll the flag back once."""
        plan, flag = self.plan, self.flag
        failed = self._failed_tasks()
        if not failed:
            raise AirflowSkipException(f"No task failed. {self.described} stays at {flag.seen.exposure}.")
        looked = state.after_observation(plan, flag.seen, flag.now)
        if cause := self._kept_by(failed):
            self._leave(looked, _KEPT[cause], cause)
        why = f"failed: {', '.join(failed)}"
        action = self._decide(state, why)
        before = flag.seen.exposure
        if isinstance(action, RollBack) and action.to is not None:
            state = self._roll_back(action.to, action.why, looked)
        elif isinstance(action, Complete):
            state = self._confirm(action, looked)
        elif isinstance(action, RollBack):
            self._leave(looked, action.why_left, AbortCause.NOT_LOWERED)
        elif action.cause is AbortCause.UNKNOWN:
            self._fail(action, looked)
        else:
            self._leave(looked, action.why, action.cause)
        return {**self.outcome(state), "changed": before != flag.seen.exposure, "before": before.percentage}

    def _decide(self, state: RolloutState, why: str) -> RollBack | Complete | Abort:
        """Decide by the history since the run began; since its first raise, if a person cleared the run after that."""
        plan, flag, finished = self.plan, self.flag, self._finished_stages()
        action = decide_group_rollback(plan, flag.seen, state, flag.now, why, finished)
        has_raised_nothing = isinstance(action, Abort) and action.cause is AbortCause.NOTHING_RAISED
        if (
            not has_raised_nothing
            or not flag.seen.exposure.effective_percentage
            or (raised_at := self._first_raise()) is None
        ):
            return action
        return decide_group_rollback(plan, flag.seen, replace(state, run_began=raised_at), flag.now, why, finished)

    def _roll_back(self, to: Exposure, why: str, state: RolloutState) -> RolloutState:
        flag = self.flag
        before, since = flag.seen.exposure, flag.since(state)
        with log_interruption(self, state, ""):
            write_rollback(self, to, why)
        after, how = flag.seen.exposure, describe_confirmation(flag)
        self.logger.warning("Rolled back %s from %s to %s, %s: %s.", self.described, before, after, how, why)
        line = rollback_line(flag, before, since, why)
        state = take_notes(self, state).with_line(RecordKind.ROLLBACK, flag.now, line)
        begin_file(self, state)
        done = f"Rolled back {self.described} from {before} to {after}, {how}: {why}."
        self._learn_alerts()
        send_alert(self, "rollback", done, why, before=before, to=after, confirmed=True)
        self.end_heartbeat(HeartbeatEnd.ROLLED_BACK)
        return state

    def _confirm(self, action: Complete, state: RolloutState) -> RolloutState:
        """A stage has already rolled the flag back."""
        if self.flag.seen.exposure.enabled:
            read_included_cohorts(self)
        text = f"{self.described} is at {self.flag.seen.exposure}, {describe_confirmation(self.flag)}: {action.why}."
        self.logger.info("%s", text)
        self._learn_alerts()
        send_alert(self, "rollback", text, action.why, confirmed=True)
        self.end_heartbeat(HeartbeatEnd.ROLLED_BACK)
        return state.with_line(RecordKind.CONFIRMED, self.flag.now, {"why": action.why})

    def _fail(self, action: Abort, state: RolloutState) -> NoReturn:
        """The target of the rollback is not known."""
        before = self.flag.seen.exposure
        failed = (
            f"Rollback of {self.described} failed: {action.why}. USERS STILL GET IT at {before}. Lower it in Amplitude."
        )
        self._learn_alerts()
        send_alert(self, "rollback", failed, action.why, before=before, confirmed=False)
        self.end_heartbeat(HeartbeatEnd.STOPPED)
        self._keep_end(RecordKind.STOP, state, action.why)
        raise AirflowFailException(failed)

    def _leave(self, state: RolloutState, why: str, cause: AbortCause) -> NoReturn:
        left = f"Left {self.described} as it is, at {self.flag.seen.exposure}: {why}.{self._still_exposed(cause)}"
        if cause is not AbortCause.NOTHING_RAISED:
            self._learn_alerts()
            if "rollback" not in self.alerts.sent:
                send_alert(self, "abort", left, why, cause=cause)
            self.end_heartbeat(HeartbeatEnd.STOPPED)
        self._keep_end(RecordKind.LEFT, state, why)
        raise AirflowSkipException(left)

    def _still_exposed(self, cause: AbortCause) -> str:
        if cause is AbortCause.NOTHING_RAISED or not self.flag.seen.exposure.effective_percentage:
            return ""
        return " No guardrail runs now. Lower the flag in Amplitude if users must not keep the feature."

    def _learn_alerts(self) -> None:
        """Read the alerts of the stages. This comes after the rollback, which waits for nothing."""
        self.alerts.learn_from(self._own_stages)

    def _keep_end(self, kind: RecordKind, state: RolloutState, why: str) -> None:
        push_record(self, state.with_line(kind, self.flag.now, {"why": why}))

    def _failed_tasks(self) -> list[str]:
        ti = self.context.get("ti")
        if ti is None:
            return ["a task"]  # a call outside of Airflow always means a rollback
        states = self._states(ti)
        found = ([task for task, state in states.items() if state == wanted] for wanted in _FAILED)
        return next((tasks for tasks in found if tasks), [])

    def _kept_by(self, failed: list[str]) -> AbortCause | None:
        """Return why the flags stay as they are: each failed task is a stage that stopped on purpose, by its record.

        The plan of the stopped stage decides. In a coordinated release, the stage can belong to another flag.
        """
        ends = [record[-1] for record in self._records("read why a stage failed", failed)]
        causes = [cause for cause in _KEPT for end in ends if _is_stop(end, cause)]
        return causes[0] if causes and len(causes) == len(failed) else None

    def _first_raise(self) -> datetime | None:
        """Return when this run first raised the flag, by the records of its stages.

        Airflow sets the beginning of a run again when a person clears the run after its end.
        """
        records = self._records("read when the run raised the flag", self._own_stages)
        raises = [line for record in records for line in record if line.get("what") == RecordKind.RAISE]
        times = (datetime.fromisoformat(line.get("made_at") or line["at"]) for line in raises)
        return min(times, default=None)

    def _records(self, what: str, tasks: Iterable[str]) -> list[list[RecordLine]]:
        """Read the records of tasks of this run. Airflow has 2 seconds to respond."""
        if (ti := self.context.get("ti")) is None:
            return []
        pulled = pull_xcoms(ti, what, tasks, RECORD_XCOM)
        records = [record for record in pulled if isinstance(record, list) and record]
        return [record for record in records if all(isinstance(line, dict) for line in record)]

    def _finished_stages(self) -> list[int]:
        """The stages whose tasks succeeded, or were marked as success. The raise after them is an own step."""
        ti, dag = self.context.get("ti"), self.operator.get_dag()
        if ti is None or dag is None:
            return []
        states = self._states(ti)
        tasks = [dag.get_task(task) for task in self._own_stages if states.get(task) == "success"]
        return [task.percentage for task in tasks if isinstance(task, AmplitudeStageOperator)]

    @property
    def _own_stages(self) -> list[str]:
        """The tasks of this flag. In a coordinated release the tasks of other flags come before this one, too."""
        group = self.operator.task_id.rpartition(".")[0]
        return [task for task in self.operator.upstream_task_ids if task.rpartition(".")[0] == group]

    def _states(self, ti: RuntimeTaskInstanceProtocol) -> dict[str, str | None]:
        """The states of the tasks whose failure means a rollback. A rollback of another flag is none of them."""
        rollbacks = {task.task_id for task in self.operator.upstream_list if isinstance(task, type(self.operator))}
        tasks = sorted(self.operator.upstream_task_ids - rollbacks)
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=tasks, run_ids=[ti.run_id])
        found: dict[str, str | None] = states.get(ti.run_id, {})
        if not of_same_index(ti):
            return found
        # In a mapped task group each flag has its own stages. Airflow names them by their task and their index.
        names = {name: task for task in tasks for name in (task, f"{task}_{ti.map_index}")}
        return {names[name]: state for name, state in found.items() if name in names}


def _is_stop(line: RecordLine, cause: AbortCause) -> bool:
    return line.get("what") == RecordKind.STOP and line.get("cause") == cause
