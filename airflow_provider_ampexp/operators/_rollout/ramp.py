"""``AmplitudeRampRolloutOperator``: take a flag from nothing to everybody, stage by stage, with a soak after each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.client._optional_fields import has_tag
from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef, flag_url
from airflow_provider_ampexp.exceptions import AmplitudeTaskError, patiently
from airflow_provider_ampexp.guardrails._base import Guardrail
from airflow_provider_ampexp.guardrails._callable import CheckFunction
from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators import _attempts as attempts
from airflow_provider_ampexp.operators._asset_events import emit_asset_events
from airflow_provider_ampexp.operators._base import AmplitudeTargetOperator
from airflow_provider_ampexp.operators._bounded_call import call_bounded
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators._outdated_run import refuse_a_ramp
from airflow_provider_ampexp.operators._rollout.alerts import Alerts, alert_of_holds
from airflow_provider_ampexp.operators._rollout.default_retries import own_retries
from airflow_provider_ampexp.operators._rollout.exposure_warnings import warn_of_reach
from airflow_provider_ampexp.operators._rollout.failure_note import FailureNote, pending_rollback_reason
from airflow_provider_ampexp.operators._rollout.last_words import ended_with_last_words, last_words
from airflow_provider_ampexp.operators._rollout.lowering import rollback_guard
from airflow_provider_ampexp.operators._rollout.plan_arguments import plan_of, set_parameters
from airflow_provider_ampexp.operators._rollout.plan_shown import push_plan
from airflow_provider_ampexp.operators._rollout.record import (
    begin_file,
    keep_before_a_wait,
    log_warnings,
    plan_edited,
    push_record,
    rebuilt,
    record_on_error,
)
from airflow_provider_ampexp.operators._rollout.record_file import RecordFile, folder_of
from airflow_provider_ampexp.operators._rollout.run_guardrails import ask_guardrails, preflight_guardrails
from airflow_provider_ampexp.operators._rollout.termination import roll_back, stop
from airflow_provider_ampexp.polling._soak_condition import SoakCondition
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import (
    Abort,
    ChangeWindow,
    Complete,
    Preflight,
    RequestApproval,
    RollBack,
    RolloutPlan,
    RolloutState,
    RunGuardrails,
    SetStage,
    Wait,
    decide,
)
from airflow_provider_ampexp.rollout._actions import Action, SwitchOffSticky, describe
from airflow_provider_ampexp.rollout._alert import Notifier, Notifiers
from airflow_provider_ampexp.rollout._decision import audience_drift
from airflow_provider_ampexp.rollout._duration import DurationLike
from airflow_provider_ampexp.rollout._own_steps import began_after_a_clear
from airflow_provider_ampexp.rollout._plan import (
    HOLD_TIMEOUT,
    PARAMETERS,
    POLL_INTERVAL,
    Decided,
    IfChangedSince,
    OnDrift,
    OnHoldTimeout,
    RollbackTo,
    StagesLike,
    Sticky,
)

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger

# Shorter waits are not worth a deferral, which takes longer by itself. They happen when a soak turns out to have
# begun a moment later than was thought.
_SHORT_WAIT = 2.0
# How long after its end Airflow ends a wait whose trigger was lost; an outage of the service or the triggerer may take
# up to that. The failed attempt is retried, and finds its place in the flag's history.
_LOST_AFTER = timedelta(hours=6)

_DEFAULTS_OF = ("dag", "task_group")


class AmplitudeRampRolloutOperator(AmplitudeTargetOperator):
    """Raise the rollout percentage stage by stage, soaking after each, and roll back when a check fails.

    It holds a worker only while it writes or checks; a soak is spent in the triggerer. Where the rollout stands and
    since when is read from the flag and its version history, on the service's own clock: a killed worker, a cleared
    task or a restarted scheduler finds its place again, and no soak is cut short or begun again. It never lowers the
    percentage but in a rollback, and stops when somebody changes the flag meanwhile.

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param plan: a :class:`~airflow_provider_ampexp.rollout.RolloutPlan` in place of the arguments down to
        ``deferrable``; an argument that is given besides is refused
    :param stages: percentages such as ``[1, 5, 25, 100]``, or :class:`~airflow_provider_ampexp.rollout.Stage` objects
        with soaks of their own, or a text of either (templated)
    :param soak: how long to stay at each stage but the last, which is neither soaked nor checked unless it says so
        itself: a ``timedelta``, or a text such as ``"2h"``. Without it each stage but the last needs a soak of its own;
        ``0`` is no soak, on purpose. A bare number is refused: it has no unit. (templated)
    :param segment: the target segment to ramp; if not given, the users whom no segment captured (templated)
    :param guardrails: checks that are asked when a soak ends, every ``check_every`` during it, and on while a raise
        waits for something else: functions, or objects of ``airflow_provider_ampexp.guardrails``
    :param check_every: how often the guardrails are asked during a soak; if not given, only at its end. No raise rests
        on an answer older than this (5 minutes if not given). (templated)
    :param preflight: before the first raise, ask each guardrail once whether it can answer at all. One that cannot (no
        such connection, a mistake in its SQL) fails the task before any user gets the feature. Its verdict does not
        count.
    :param window: a :class:`~airflow_provider_ampexp.rollout.ChangeWindow` outside of which nothing is raised. A
        rollback waits for nothing.
    :param rollback: where a failed check takes the flag: ``"start"`` (what it was before this rollout),
        ``"previous"`` (one stage down), a percentage, ``"off"`` (0 and disabled) or ``"hold"`` (leave it) (templated)
    :param on_drift: when somebody else changes the flag meanwhile, ``"stop"`` and touch nothing, or ``"adopt"`` and go
        on from there (templated)
    :param hold_tag: while the flag carries this tag nothing is raised, and guardrails go on: so a person holds a
        rollout from Amplitude. Taking the tag away lets it go on. (templated)
    :param sticky: what to do with sticky bucketing, which keeps users in whom a rollback is to take out: ``"refuse"``
        the rollout, or ``"switch_off"`` before the first stage. With ``rollback="off"`` or ``"hold"`` it stays on.
        (templated)
    :param decided: what to do with an experiment whose decision is ``rollback``: ``"refuse"`` or ``"ignore"``
        (templated)
    :param catch_all: the target segment that has no conditions on purpose. The API shows no conditions of a segment for
        a cohort, so a ramp of a segment is refused if any other shows none, also if it is the ramped one. (templated)
    :param if_changed_since: what to do when somebody changed the flag after the run was due and before it began, as
        happens when an old run is cleared or filled in: ``"fail"``, ``"skip"`` or ``"write"`` all the same (templated)
    :param hold_timeout: how long guardrails with ``effect="hold"`` or ``no_data="hold"`` may hold the rollout at a
        stage, counted from the first such answer in a row: a ``timedelta`` or a text such as ``"12h"``; ``None`` for
        as long as they like. A person's ``hold_tag`` has no limit. (templated)
    :param on_hold_timeout: what follows then: ``"stop"`` leaves the flag as it is and fails the task, ``"rollback"``
        takes it to ``rollback`` (templated)
    :param record_path: a folder such as ``"s3://conn_id@bucket/rollouts"`` or ``"file:///var/rollouts"``. Each task
        writes its record there, too, as a file of JSON lines; ``None`` for XCom only (templated)
    :param on_rollback: alerts: a notifier such as ``SlackNotifier(...)``, a function of the context, or a list of
        these. Called once, after the flag was rolled back, or when that is not confirmed. They find what happened as
        ``rollout`` in their context.
    :param on_abort: the same, when the rollout stops and leaves the flag as it is
    :param on_hold: the same, when guardrails or a person's ``hold_tag`` begin to hold it
    :param on_approval_needed: the same, when an approval is asked for, which tasks of a group do
    :param enable: enable a disabled flag together with the first stage. If others would get it by that (other segments,
        all other users), the rollout is refused.
    :param poll_interval: time between two looks at the flag during a soak: seconds, a ``timedelta`` or a text such as
        ``"1m"``
    :param deferrable: soak in the triggerer; ``False`` keeps a worker for the whole rollout

    Where neither the task nor ``default_args`` names ``retries``, there are 5 (or ``[core] default_task_retries``,
    where that is more), after 30 seconds, 1, 2, 4 and 8 minutes. ``retries=0`` is no retries.

    :raises AirflowFailException: when it rolled back or stopped; no retry follows. Clearing the task begins again.

    It returns ``{"id", "key", "changed", "before", "after", "url"}``; before and after are percentages. Its record
    (each raise, check and rollback, with when and what was measured) lies in the XCom ``rollout``, also during a soak
    and when it failed. Of more than 200 lines the oldest checks are given up; the log has every one.
    """

    template_fields: Sequence[str] = (
        *AmplitudeTargetOperator.template_fields,
        "stages",
        "soak",
        "segment",
        "check_every",
        "rollback",
        "on_drift",
        "hold_tag",
        "hold_timeout",
        "on_hold_timeout",
        "sticky",
        "decided",
        "catch_all",
        "if_changed_since",
        "record_path",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"stages": "json"}
    ui_color = "#cfe8d5"

    stages: StagesLike
    guardrails: Sequence[Guardrail]
    segment: str | None
    rollback: RollbackTo | str
    record_path: str | None
    on_rollback: tuple[Notifier, ...]
    on_abort: tuple[Notifier, ...]
    on_hold: tuple[Notifier, ...]
    on_approval_needed: tuple[Notifier, ...]
    poll_interval: float
    deferrable: bool
    _flag: ManagedFlag | None = None

    def __init__(
        self,
        *,
        plan: RolloutPlan | None = None,
        stages: StagesLike | None = None,
        soak: DurationLike | None = None,
        segment: str | None = None,
        guardrails: Iterable[Guardrail | CheckFunction] = (),
        check_every: DurationLike | None = None,
        preflight: bool = True,
        window: ChangeWindow | None = None,
        rollback: RollbackTo | str = "start",
        on_drift: OnDrift | str = "stop",
        hold_tag: str = "rollout-hold",
        hold_timeout: DurationLike | None = HOLD_TIMEOUT,
        on_hold_timeout: OnHoldTimeout | str = "stop",
        sticky: Sticky | str = "refuse",
        decided: Decided | str = "refuse",
        catch_all: str | None = None,
        if_changed_since: IfChangedSince | str = "fail",
        record_path: str | None = None,
        on_rollback: Notifiers | None = None,
        on_abort: Notifiers | None = None,
        on_hold: Notifiers | None = None,
        on_approval_needed: Notifiers | None = None,
        enable: bool = True,
        poll_interval: DurationLike = POLL_INTERVAL,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in PARAMETERS}
        super().__init__(**kwargs, **own_retries({*kwargs, *kwargs.get("default_args", {})}))
        set_parameters(self, plan, given)
        arguments.check_literal("record_path", self.record_path, arguments.optional(folder_of))

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task. The scheduler counts its retries, so they are known before the task is made."""
        begun = super().partial(**kwargs)
        defaults = [
            kwargs.get("default_args"),
            *(getattr(begun.kwargs[of], "default_args", None) for of in _DEFAULTS_OF),
        ]
        begun.kwargs.update(own_retries({*kwargs, *(name for given in defaults for name in given or {})}))
        return begun

    def plan(self) -> RolloutPlan:
        """Return the plan, after the arguments are rendered.

        :raises InvalidInputError: names the argument that is wrong
        """
        return plan_of(self)

    def execute(self, context: Context) -> ChangeResultXCom:
        """Begin, or begin again after a crash: the flag tells where it stands."""
        has_begun = self.is_continuation or attempts.is_automatic_retry(context, self.retries)
        # The connection comes before what is asked of Airflow besides: a call that hangs would keep it waiting.
        alerts = Alerts.of(self, context)
        with (
            alerts.tell_if_a_rollback_stays_undone(),
            error_context(lambda: self._purpose(context), has_begun=has_begun),
            self.hook() as hook,
        ):
            plan = self.plan()
            target = self.target(self.project_of(hook))
            if not has_begun:
                arguments.optional(folder_of)("record_path", self.record_path)
            flag = self._flag = self.first_look(context, plan, hook.client, target)
            flag.record_file = RecordFile.of(context, self.record_path, flag)
            flag.failure_note = FailureNote()
            flag.alerts = alerts
            memory = self.initial_state(context, plan, flag)
            call_bounded("show what the rollout is about to do", lambda: self._show(context, plan, flag, hook), None)
            if not memory.is_retry:
                refuse_a_ramp(context, plan, flag, self.described(), cast("IfChangedSince", plan.if_changed_since))
            if not self.is_continuation:
                memory = warn_of_reach(flag, memory, self.log)
            outcome = self.reconcile(context, plan, flag, memory)
            emit_asset_events(self, context, hook, flag.target.kind, outcome)
            return outcome

    def _show(self, context: Context, plan: RolloutPlan, flag: ManagedFlag, hook: AmplitudeExperimentHook) -> None:
        push_link(context, flag_url(hook.client, flag.config))
        push_plan(context, plan, flag, hook.amplitude_conn_id)

    def reason_to_roll_back(self, context: Context) -> str | None:
        """Why this task has to roll back before it has seen the flag; only the rollback task of a group knows one."""
        return None

    def on_kill(self) -> None:
        """Say what users still get. Airflow calls this when the task is ended from outside."""
        if self._flag is not None and self._flag.said_if_interrupted:
            self.log.error("%s (ended from outside)", self._flag.said_if_interrupted)

    def first_look(self, context: Context, plan: RolloutPlan, client: ManagementClient, target: FlagRef) -> ManagedFlag:
        """Find the flag, and see where it stands."""
        return ManagedFlag.find(client, target, plan.segment, plan.catch_all)

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
        memory = RolloutState(began, attempt.is_retry, failed=failed, preflight_owed=owed, plan=now)
        return rebuilt(context, plan, flag, memory)

    def _purpose(self, context: Context) -> str:
        """What this attempt is about to do, for its errors."""
        failed = pending_rollback_reason(context)
        if failed is None:
            return f"ramp {self.described()}"
        return (
            f"finish the rollback of {self.described()}, whose rollout has failed ({failed}). ROLLBACK NOT CONFIRMED: "
            "as far as is known USERS STILL GET IT, look at it in Amplitude now"
        )

    @property
    def is_continuation(self) -> bool:
        """Whether a task before this one began the rollout, so that the first attempt, too, minds what happened."""
        return False

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
        said = self._filter_foreign_event(context, event or {})
        status, why = said.get("status"), said.get("why")
        watch, memory = watch or said.get("watch"), memory or said.get("memory")
        if status == "error":
            raise AirflowFailException(f"Failed to watch {self.described()} during its soak: {why} It stays as it is.")
        if status not in ("due", "changed") or watch is None or memory is None:
            raise AmplitudeTaskError(f"The trigger ended with an event that this version does not know: {event!r}.")
        with error_context(f"ramp {self.described()}", has_begun=True), self.hook() as hook:
            plan = self.plan()
            patiently(lambda: hook.fields)
            if "kind" in watch and "id" in watch:
                watched = SoakCondition.from_plain(watch)
                flag = self._flag = ManagedFlag(
                    hook.client, FlagRef(watched.kind, id=watched.id), plan.segment, plan.catch_all
                )
                flag.known_clock_error = watched.local_clock_error
                with record_on_error(context, flag, self.remembered(memory, said, flag.now)):
                    flag.look(archived=bool(said.get("archived")))
            else:  # another version of this provider left it
                flag = self._flag = ManagedFlag.find(
                    hook.client, self.target(self.project_of(hook)), plan.segment, plan.catch_all
                )
            flag.record_file = RecordFile.of(context, self.record_path, flag)
            flag.failure_note = FailureNote()
            remembered = self.remembered(memory, said, flag.now).with_listed(said.get("audience"))
            flag.alerts = Alerts.of(self, context, remembered.alerted)
            remembered = plan_edited(plan, flag, remembered, self.log)
            outcome = self.reconcile(context, plan, flag, remembered)
            emit_asset_events(self, context, hook, flag.target.kind, outcome)
            return outcome

    def _filter_foreign_event(self, context: Context, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was meant for another task only wakes this one: SQLite gives a trigger's id to the next one."""
        ti = context.get("ti")
        if ti is None or event.get("ti_id") in (None, str(ti.id)):
            return event
        return {"status": "changed"}

    def remembered(self, memory: dict[str, Any], said: Mapping[str, Any], now: datetime) -> RolloutState:
        """What is remembered over a wait, and what the event says besides."""
        return RolloutState.from_json(memory)

    def reconcile(
        self, context: Context, plan: RolloutPlan, flag: ManagedFlag, memory: RolloutState
    ) -> ChangeResultXCom:
        """Look, decide, carry out; until there is something to wait for, or nothing left to do."""
        while True:
            act = decide(plan, flag.seen, memory, flag.now)
            if not isinstance(act, Abort):
                flag.notes += audience_drift(plan, flag.seen, memory, flag.now)
            memory = log_warnings(flag, memory.looked(plan, flag.seen, flag.now), self.log)
            stands = f"{flag.seen.position} since {flag.since(memory):%Y-%m-%d %H:%M:%SZ}"
            self.log.info("%s: %s. %s: %s.", self.described(), stands, describe(act), act.why)
            if isinstance(act, Complete):
                return self.outcome(context, flag, memory)
            alert_of_holds(act, plan, flag, memory, self.described())
            with ended_with_last_words(context, flag, memory, last_words(flag, act, self.described()), self.log):
                memory = self._carry_out(act, context, plan, flag, memory)
            begin_file(flag, memory)

    def _carry_out(
        self, act: Action, context: Context, plan: RolloutPlan, flag: ManagedFlag, memory: RolloutState
    ) -> RolloutState:
        """Do what was decided on.

        :returns: what is remembered then
        """
        if isinstance(act, SetStage):
            return self._raise(context, flag, act, memory)
        if isinstance(act, RunGuardrails):
            memory = ask_guardrails(self.guardrails, context, plan, flag, memory, self.log)
            with record_on_error(context, flag, memory):
                self._look_again(context, plan, flag, memory)
        elif isinstance(act, Preflight):
            with record_on_error(context, flag, memory):
                began = flag.now
                memory = preflight_guardrails(self.guardrails, context, flag, memory, self.log, self.described())
                if (flag.now - began).total_seconds() > _SHORT_WAIT:
                    flag.look(archived=flag.seen.archived)
        elif isinstance(act, Wait):
            return self.wait(context, plan, flag, act, memory)
        elif isinstance(act, SwitchOffSticky):
            return self._switch_off_sticky(context, flag, memory)
        elif isinstance(act, RequestApproval):
            return self.ask_for_approval(context, flag, memory)
        elif isinstance(act, RollBack):
            roll_back(context, flag, act, memory, self.described(), self.log)
        elif isinstance(act, Abort):
            stop(context, flag, act, memory, self.described())
        return memory

    def _raise(self, context: Context, flag: ManagedFlag, act: SetStage, memory: RolloutState) -> RolloutState:
        before, since = flag.seen.position, flag.since(memory)
        with record_on_error(context, flag, memory):
            # What was set, not what is seen now: who disables the flag right after the write is somebody else.
            after = flag.set_stage(act.stage.percentage)
        return log_warnings(flag, memory.raised(before, since, after, flag.seen, flag.now), self.log)

    def _switch_off_sticky(self, context: Context, flag: ManagedFlag, memory: RolloutState) -> RolloutState:
        with record_on_error(context, flag, memory):
            flag.switch_off_sticky()
        return memory.recorded("sticky", flag.now, {"why": "sticky bucketing was switched off, and read back"})

    def _look_again(self, context: Context, plan: RolloutPlan, flag: ManagedFlag, memory: RolloutState) -> None:
        """Guardrails take their time, and somebody may have moved the flag meanwhile."""
        act = decide(plan, flag.seen, memory, flag.now)
        about_to: AbstractContextManager[None] = nullcontext()
        if isinstance(act, RollBack):
            about_to = rollback_guard(context, flag, act.to, act.why, self.described())
        with about_to:
            flag.look(archived=flag.seen.archived)

    def wait(
        self, context: Context, plan: RolloutPlan, flag: ManagedFlag, act: Wait, memory: RolloutState
    ) -> RolloutState:
        """Wait in the triggerer; for a moment, or where the task is not to be deferred, on the worker."""
        keep_before_a_wait(context, flag, memory)
        tag = plan.hold_tag
        watch = SoakCondition(
            flag.target.kind,
            flag.id,
            flag.segment,
            flag.seen.position,
            act.until,
            tag,
            has_tag(flag.seen.tags, tag),
            memory.listed or memory.audience,
            flag.local_clock_error,
        )
        if isinstance(flag.alerts, Alerts):
            memory = replace(memory, alerted=tuple(sorted(flag.alerts.sent)))
        if self.deferrable and watch.seconds_left(flag.client) > _SHORT_WAIT:
            self.defer_until(context, watch, memory, timedelta(seconds=watch.seconds_left(flag.client)) + _LOST_AFTER)
        while (event := patiently(lambda: watch.look(flag.client))) is None:
            time.sleep(max(0.2, min(self.poll_interval, watch.seconds_left(flag.client))))
        with record_on_error(context, flag, memory):
            flag.look(archived=event["archived"])
        return memory.with_listed(event.get("audience"))

    def defer_until(self, context: Context, watch: SoakCondition, memory: RolloutState, lasts: timedelta) -> NoReturn:
        """Free the worker until the trigger says that the wait is over.

        :param lasts: after what Airflow ends a wait whose trigger was lost
        """
        ti = context.get("ti")
        plain = {"watch": watch.as_plain(), "memory": memory.as_json()}
        trigger = self.soak_trigger_class()(
            amplitude_conn_id=str(self.amplitude_conn_id),
            poll_interval=self.poll_interval,
            ti_id=None if ti is None else str(ti.id),
            **plain,
        )
        self.defer(trigger=trigger, method_name="resume", kwargs=plain, timeout=lasts)

    def soak_trigger_class(self) -> type[AmplitudeSoakTrigger]:
        """The trigger that waits. It is loaded here, since that takes longer than the parsing of a DAG should."""
        from airflow_provider_ampexp.triggers.soak import AmplitudeSoakTrigger

        return AmplitudeSoakTrigger

    def ask_for_approval(self, context: Context, flag: ManagedFlag, memory: RolloutState) -> RolloutState:
        """Ask a person, where the plan has an approval; that is a task of its own."""
        raise NotImplementedError

    def outcome(self, context: Context, flag: ManagedFlag, memory: RolloutState) -> ChangeResultXCom:
        """Where it began and where it stands, and the record."""
        push_record(context, flag, memory)
        start, end = memory.start or flag.seen.position, flag.seen.position
        return {
            "id": flag.id,
            "key": flag.config.get("key"),
            "changed": start != end,
            "before": start.percentage,
            "after": end.percentage,
            "url": flag_url(flag.client, flag.config),
        }
