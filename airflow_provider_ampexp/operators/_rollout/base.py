"""``RolloutOperator``: the arguments that all tasks of a rollout share, and how each of them begins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ampexp.ensure import ChangeResultXCom, FlagRef, flag_url
from airflow_provider_ampexp.guardrails._base import Guardrail
from airflow_provider_ampexp.guardrails._callable import CheckFunction
from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._asset_events import emit_asset_events
from airflow_provider_ampexp.operators._attempts import is_automatic_retry
from airflow_provider_ampexp.operators._base import AmplitudeTargetOperator
from airflow_provider_ampexp.operators._bounded_call import call_bounded
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.operators._rollout.alerts import Alerts
from airflow_provider_ampexp.operators._rollout.default_retries import own_retries
from airflow_provider_ampexp.operators._rollout.failure_note import pending_rollback_reason
from airflow_provider_ampexp.operators._rollout.plan_arguments import plan_of, set_parameters
from airflow_provider_ampexp.operators._rollout.plan_shown import push_plan
from airflow_provider_ampexp.operators._rollout.record import push_record
from airflow_provider_ampexp.operators._rollout.record_file import folder_of
from airflow_provider_ampexp.operators._rollout.task import RolloutTask
from airflow_provider_ampexp.reconcile._flag import ManagedFlag
from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan, RolloutState
from airflow_provider_ampexp.rollout._alert import Notifier, Notifiers
from airflow_provider_ampexp.rollout._duration import DurationLike
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

_DEFAULTS_OF = ("dag", "task_group")


class RolloutOperator(AmplitudeTargetOperator):
    """A task of a rollout. :class:`AmplitudeRampRolloutOperator` documents the arguments."""

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
    approvers: Sequence[str] | str = ()
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

    @property
    def is_continuation(self) -> bool:
        """Whether a task before this one began the rollout, so that this one takes account of what happened."""
        return False

    @abstractmethod
    def initial_state(self, context: Context, plan: RolloutPlan, flag: ManagedFlag) -> RolloutState:
        """What an attempt knows before its first look."""

    @abstractmethod
    def carry_out(self, task: RolloutTask, state: RolloutState) -> ChangeResultXCom:
        """Do what this task does to the flag, which was observed."""

    def reason_to_roll_back(self, context: Context) -> str | None:
        """Why this task has to roll back before it has seen the flag; only the rollback task of a group knows one."""
        return None

    def execute(self, context: Context) -> ChangeResultXCom:
        """Begin, or begin again after a crash: the flag tells where it stands."""
        has_begun = self.is_continuation or is_automatic_retry(context, self.retries)
        # The connection comes before what is asked of Airflow besides: a call that hangs would keep it waiting.
        alerts = Alerts.of(self, context)
        with (
            alerts.alert_of_errors(),
            error_context(lambda: self._purpose(context), has_begun=has_begun),
            self.hook() as hook,
        ):
            plan = self.plan()
            target = self.target(self.project_of(hook))
            if not has_begun:
                arguments.optional(folder_of)("record_path", self.record_path)
            flag = self._flag = self.first_look(context, plan, hook.client, target)
            task = RolloutTask(self, context, plan, flag, alerts)
            task.open_record_file()
            state = self.initial_state(context, plan, flag)
            call_bounded("show what the rollout is about to do", lambda: self._show(task, hook), None)
            outcome = self.carry_out(task, state)
            emit_asset_events(self, context, hook, flag.target.kind, outcome)
            return outcome

    def first_look(self, context: Context, plan: RolloutPlan, client: ManagementClient, target: FlagRef) -> ManagedFlag:
        """Find the flag, and see where it stands."""
        return ManagedFlag.find(client, target, plan.segment, plan.catch_all)

    def on_kill(self) -> None:
        """Log what users still get. Airflow calls this when the task is ended from outside."""
        if self._flag is not None and self._flag.said_if_interrupted:
            self.log.error("%s (ended from outside)", self._flag.said_if_interrupted)

    def outcome(self, task: RolloutTask, state: RolloutState) -> ChangeResultXCom:
        """Return where the flag stood and where it stands, and keep the record."""
        push_record(task, state)
        flag = task.flag
        start, end = state.start or flag.seen.position, flag.seen.position
        return {
            "id": flag.id,
            "key": flag.config.get("key"),
            "changed": start != end,
            "before": start.percentage,
            "after": end.percentage,
            "url": flag_url(flag.client, flag.config),
        }

    def _show(self, task: RolloutTask, hook: AmplitudeExperimentHook) -> None:
        push_link(task.context, flag_url(hook.client, task.flag.config))
        push_plan(task.context, task.plan, task.flag, hook.amplitude_conn_id)

    def _purpose(self, context: Context) -> str:
        """What this attempt is about to do, for its errors."""
        failed = pending_rollback_reason(context)
        if failed is None:
            return f"ramp {self.described()}"
        return (
            f"finish the rollback of {self.described()}, whose rollout has failed ({failed}). ROLLBACK NOT CONFIRMED: "
            "as far as is known USERS STILL GET IT, look at it in Amplitude now"
        )
