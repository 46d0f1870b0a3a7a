"""The loop of a rollout: observe the flag, decide, act, until the rollout is complete.

The loop knows neither Airflow nor its tasks. It reaches them through one object, the :class:`RolloutPort`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NoReturn, Protocol

from airflow_provider_ampexp.client._timestamps import format_timestamp
from airflow_provider_ampexp.rollout._actions import (
    Abort,
    Action,
    Complete,
    Preflight,
    PreviewRaise,
    RequestApproval,
    RollBack,
    RunGuardrails,
    SetStage,
    SwitchOffSticky,
    Wait,
    describe,
)
from airflow_provider_ampexp.rollout._decision import audience_drift, decide
from airflow_provider_ampexp.rollout._vocabulary import RecordKind

if TYPE_CHECKING:
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan
    from airflow_provider_ampexp.rollout._state import RolloutState

_LONG = 2.0  # seconds after which the flag is observed again: another person may have changed it in that time


class RolloutPort(Protocol):
    """The interface from the loop to its task. A method that returns a state returns the next state."""

    def log(self, text: str) -> None:
        """Log one line."""

    def take_notes(self, state: RolloutState) -> RolloutState:
        """Log and record the notes of the flag: changes of other people that were restored."""

    def write_heartbeat(self, action: Action, state: RolloutState) -> None:
        """Write when the next step is due, for the watchdog."""

    def alert_of_holds(self, action: Action, state: RolloutState) -> None:
        """Alert when the guardrails or a tag begin to hold the rollout."""

    def interruptible(self, action: Action, state: RolloutState) -> AbstractContextManager[None]:
        """Within this, an interruption of the task logs and records what users still get."""

    def recorded_on_error(self, state: RolloutState) -> AbstractContextManager[None]:
        """Within this, an error becomes the last line of the record."""

    def rollback_guard(self, action: RollBack) -> AbstractContextManager[None]:
        """Within this, an error is reported as a rollback that is not confirmed."""

    def keep_record(self, state: RolloutState) -> None:
        """Begin to write the record, without waiting."""

    def run_guardrails(self, state: RolloutState) -> RolloutState:
        """Run the guardrails at the present stage."""

    def run_preflight(self, state: RolloutState) -> RolloutState:
        """Run each guardrail once to see whether it works. It raises if one does not."""

    def preview_raise(self, action: PreviewRaise, state: RolloutState) -> RolloutState:
        """Find out who enters with the next raise. It raises if the plan refuses users, and this is not known."""

    def request_approval(self, state: RolloutState) -> RolloutState:
        """Request the approval of the next stage."""

    def wait(self, action: Wait, state: RolloutState) -> RolloutState:
        """Wait, and observe the flag again. It may end the task here, which then continues in another process."""

    def roll_back(self, action: RollBack, state: RolloutState) -> NoReturn:
        """Roll the flag back, and end the task."""

    def abort(self, action: Abort, state: RolloutState) -> NoReturn:
        """Leave the flag as it is, and end the task."""


def reconcile(plan: RolloutPlan, flag: ManagedFlag, state: RolloutState, port: RolloutPort) -> RolloutState:
    """Carry out a plan from the present exposure of the flag.

    :param flag: already observed
    :returns: the state of the complete rollout. A rollout that rolls back or stops ends in the port.
    """
    while True:
        action = decide(plan, flag.seen, state, flag.now)
        if not isinstance(action, Abort):
            flag.notes += audience_drift(plan, flag.seen, state, flag.now)
        state = port.take_notes(state.after_observation(plan, flag.seen, flag.now))
        present = f"{flag.seen.exposure} since {format_timestamp(flag.since(state))}"
        port.log(f"{present}. {describe(action)}: {action.why}.")
        port.write_heartbeat(action, state)
        if isinstance(action, Complete):
            return state
        port.alert_of_holds(action, state)
        with port.interruptible(action, state):
            state = _act(action, plan, flag, state, port)
        port.keep_record(state)


def _act(action: Action, plan: RolloutPlan, flag: ManagedFlag, state: RolloutState, port: RolloutPort) -> RolloutState:
    if isinstance(action, SetStage):
        return _set_stage(action, flag, state, port)
    if isinstance(action, RunGuardrails):
        state = port.run_guardrails(state)
        _observe_after_a_check(plan, flag, state, port)
        return state
    if isinstance(action, Preflight):
        return _run_before_a_raise(lambda: port.run_preflight(state), flag, state, port)
    if isinstance(action, PreviewRaise):
        return _run_before_a_raise(lambda: port.preview_raise(action, state), flag, state, port)
    if isinstance(action, Wait):
        return port.wait(action, state)
    if isinstance(action, SwitchOffSticky):
        return _switch_off_sticky(flag, state, port)
    if isinstance(action, RequestApproval):
        return port.request_approval(state)
    if isinstance(action, RollBack):
        port.roll_back(action, state)
    if isinstance(action, Abort):
        port.abort(action, state)
    return state


def _set_stage(action: SetStage, flag: ManagedFlag, state: RolloutState, port: RolloutPort) -> RolloutState:
    before, since = flag.seen.exposure, flag.since(state)
    with port.recorded_on_error(state):
        # The state keeps what was set, not what is seen now: a person may disable the flag right after the write.
        after = flag.set_stage(action.stage.percentage)
    return port.take_notes(state.after_set_stage(before, since, after, flag.seen, flag.now))


def _observe_after_a_check(plan: RolloutPlan, flag: ManagedFlag, state: RolloutState, port: RolloutPort) -> None:
    """Observe the flag again: a check takes time, and a person may have changed the flag in that time."""
    action = decide(plan, flag.seen, state, flag.now)
    guard = port.rollback_guard(action) if isinstance(action, RollBack) else nullcontext()
    with port.recorded_on_error(state), guard:
        flag.observe(archived=flag.seen.archived)


def _run_before_a_raise(
    run: Callable[[], RolloutState], flag: ManagedFlag, state: RolloutState, port: RolloutPort
) -> RolloutState:
    """Run what comes before a raise. It may take long, so the flag is observed again."""
    with port.recorded_on_error(state):
        began = flag.now
        state = run()
        if (flag.now - began).total_seconds() > _LONG:
            flag.observe(archived=flag.seen.archived)
    return state


def _switch_off_sticky(flag: ManagedFlag, state: RolloutState, port: RolloutPort) -> RolloutState:
    with port.recorded_on_error(state):
        flag.switch_off_sticky()
    return state.with_line(RecordKind.STICKY, flag.now, {"why": "sticky bucketing was disabled, and read back"})
