"""The arguments that all tasks of a rollout share.

Airflow imports this module for each parse of a DAG file. What only a running task needs is in ``task.py``,
``reconciling.py`` and ``group_rollback_task.py``, which are imported when a task runs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeTargetOperator
from airflow_provider_ampexp.operators._rollout.default_retries import own_retries
from airflow_provider_ampexp.operators._rollout.plan_arguments import plan_of, set_parameters
from airflow_provider_ampexp.rollout._duration import DurationLike
from airflow_provider_ampexp.rollout._plan import (
    FOLDERS,
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

    from airflow_provider_ampexp.ensure import ChangeResultXCom
    from airflow_provider_ampexp.guardrails import Guardrail
    from airflow_provider_ampexp.guardrails._callable import CheckFunction
    from airflow_provider_ampexp.operators._rollout.reconciling import ReconcilingTask
    from airflow_provider_ampexp.operators._rollout.task import RolloutTask
    from airflow_provider_ampexp.rollout import ChangeWindow, RolloutPlan, RolloutPreview
    from airflow_provider_ampexp.rollout._alert import Notifier, Notifiers

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
        *FOLDERS,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"stages": "json"}

    stages: StagesLike
    guardrails: Sequence[Guardrail]
    segment: str | None
    rollback: RollbackTo | str
    record_path: str | None
    heartbeat_path: str | None
    on_rollback: tuple[Notifier, ...]
    on_abort: tuple[Notifier, ...]
    on_hold: tuple[Notifier, ...]
    on_approval_needed: tuple[Notifier, ...]
    poll_interval: float
    deferrable: bool
    _task: RolloutTask | None = None

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
        preview: RolloutPreview | None = None,
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
        heartbeat_path: str | None = None,
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
        for name in FOLDERS:
            arguments.check_literal(name, getattr(self, name), arguments.optional(arguments.folder))

    @classmethod
    def partial(cls, **kwargs: Any) -> OperatorPartial:
        """Begin a mapped task. The scheduler needs its retries before the task exists."""
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

    def approver_ids(self) -> list[str]:
        """Return the users who may answer an approval; an empty list is for all users."""
        return []

    @property
    def is_continuation(self) -> bool:
        """Whether an earlier task began the rollout. Then the changes since the run began count."""
        return False

    @abstractmethod
    def new_task(self, context: Context) -> RolloutTask:
        """Return what this task does when it runs."""

    def execute(self, context: Context) -> ChangeResultXCom:
        """Start, or continue after a crash from the flag and its history."""
        self._task = self.new_task(context)
        return self._task.execute()

    def on_kill(self) -> None:
        """Log what users still get. Airflow calls this when it kills the task."""
        if self._task is not None:
            self._task.log_interruption()


class ReconcilingOperator(RolloutOperator):
    """A task that carries out stages of a rollout and waits between its steps: ramp, stage and approval."""

    def new_task(self, context: Context) -> ReconcilingTask:
        """Return what this task does when it runs."""
        from airflow_provider_ampexp.operators._rollout.reconciling import ReconcilingTask

        return ReconcilingTask(self, context)

    def resume(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        watch: dict[str, Any] | None = None,
        memory: dict[str, Any] | None = None,
    ) -> ChangeResultXCom:
        """Continue after a wait. Airflow's database has the names of these arguments.

        :param event: why the wait is over. It also has the state and the condition: ``dag.test()`` and
            ``airflow dags test`` lose the two arguments that follow.
        :param watch: the condition of the wait, as JSON
        :param memory: the state of the rollout, as JSON
        """
        task = self.new_task(context)
        self._task = task
        return task.resume(event or {}, watch, memory)
