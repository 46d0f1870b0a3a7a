"""The base classes of operators that make a change: connect, make the change, and log the result."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args

from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._base import AmplitudeOperator, AmplitudeTargetOperator
from airflow_provider_ampexp.operators._errors import error_context
from airflow_provider_ampexp.rollout._plan import IfChangedSince

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.ensure import ChangeResult, ChangeResultXCom, FlagRef
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

_LONGEST_IN_LOG = 300


class AmplitudeChangeOperator(AmplitudeOperator):
    """The base class of operators that make a change.

    The task returns (and pushes to XCom) ``{"id", "key", "changed", "before", "after", "url"}``. The task first reads
    the present state, and writes only the difference. So a second run changes nothing and returns ``changed: False``.
    """

    what: ClassVar[str]
    """The action of the operator, for logs and errors, such as ``archive``."""

    def execute(self, context: Context) -> ChangeResultXCom:
        """Carry out the change.

        :raises AirflowFailException: when a retry cannot fix the error
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        from airflow_provider_ampexp.operators._at_run_time import emit_asset_events

        with error_context(f"{self.what} {self.described()}"), self.hook() as hook:
            outcome = self.carry_out(hook)
            if (kind := self.changed_kind()) is not None:
                emit_asset_events(self, context, hook, kind, outcome.as_xcom())
        self._say(outcome)
        push_link(context, outcome.url)
        return outcome.as_xcom()

    @abstractmethod
    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Make the change."""

    @abstractmethod
    def described(self) -> str:
        """Return a description of the object of the change, for logs and errors."""

    def changed_kind(self) -> Kind | None:
        """Return the kind of the changed object; ``None`` if it is neither a flag nor an experiment."""
        return None

    def _say(self, outcome: ChangeResult) -> None:
        if outcome.changed:
            self.log.info(
                "Done: %s %s (id %s). Before: %s. After: %s.",
                self.what,
                self.described(),
                outcome.id,
                _short(outcome.before),
                _short(outcome.after),
            )
        else:
            self.log.info(
                "Nothing to do: %s %s (id %s). Current: %s.",
                self.what,
                self.described(),
                outcome.id,
                _short(outcome.after),
            )
        for note in outcome.notes:
            self.log.warning("%s", note)


class AmplitudeTargetChangeOperator(AmplitudeTargetOperator, AmplitudeChangeOperator):
    """The base class of operators that change one flag or experiment."""

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Change the named flag or experiment."""
        return self.change(hook.client, self.target(self.project_of(hook)))

    def changed_kind(self) -> Kind | None:
        """Return the kind of the named flag or experiment."""
        return self.target(None).kind

    @abstractmethod
    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Change the flag or experiment."""


class AmplitudeIfChangedSinceOperator(AmplitudeChangeOperator):
    """The base class of operators that do not undo a later change by another actor.

    :param if_changed_since: when an actor changed the same field after the run was due and before the run began, as in
        a backfill or after a clear: ``"fail"``, ``"skip"`` or ``"write"``. For a retry, changes after the start of the
        first attempt count (Airflow 3.3). Changes by all actors count. A run that begins within a minute after it was
        due is not outdated. (templated)
    """

    template_fields: Sequence[str] = (*AmplitudeChangeOperator.template_fields, "if_changed_since")
    if_changed_since_default: ClassVar[IfChangedSince] = "fail"

    def __init__(self, *, if_changed_since: IfChangedSince | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.if_changed_since = self.if_changed_since_default if if_changed_since is None else if_changed_since
        arguments.check_literal("if_changed_since", self.if_changed_since, _if_changed_since)
        self._context: Context | None = None

    @abstractmethod
    def written_fields(self) -> Sequence[str]:
        """Return the fields that the task may change, with their names in the version history.

        ``deployments[1]`` is the assignment of the flag to the deployment with the id 1.
        """

    def sets(self, field: str, value: object) -> bool:
        """Return true if the task itself sets a field, by its path in the version history, to this value.

        A change to this value in the history does not make the task outdated. A task with several writes needs this for
        all writes except the last, so that a retry completes the change of an earlier attempt.
        """
        return False

    def execute(self, context: Context) -> ChangeResultXCom:
        """Carry out the change, unless the task is outdated.

        :raises AirflowFailException: when the task is outdated, or when a retry cannot fix the error
        :raises AirflowSkipException: when the task is outdated, with ``if_changed_since="skip"``
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        self._context = context
        return super().execute(context)

    def refuse_if_outdated(self, client: ManagementClient, target: FlagRef) -> None:
        """Let the client refuse its first write if the task is outdated for this flag or experiment."""
        from airflow_provider_ampexp.operators._at_run_time import NO_RETRY, refuse_before_a_write, this_attempt

        then = _if_changed_since("if_changed_since", self.if_changed_since)
        if self._context is None or then == "write":
            return
        # A task without retries has no later attempt that needs the start of this attempt.
        is_retried = bool(self.retries)
        attempt = this_attempt(self._context, self.retries, datetime.now(timezone.utc)) if is_retried else NO_RETRY
        refuse_before_a_write(
            client,
            target,
            self._context,
            attempt,
            self.written_fields(),
            self.described(),
            cast("IfChangedSince", then),
            self.sets,
        )


class AmplitudeExposureChangeOperator(AmplitudeIfChangedSinceOperator, AmplitudeTargetChangeOperator):
    """The base class of operators that change which users get an existing flag or experiment.

    The operators do not undo a later change by another actor. They take the arguments of
    :class:`AmplitudeIfChangedSinceOperator`.
    """

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "if_changed_since")

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Change the named flag or experiment, unless the task is outdated."""
        target = self.target(self.project_of(hook))
        self.refuse_if_outdated(hook.client, target)
        return self.change(hook.client, target)


_if_changed_since = arguments.one_of(*get_args(IfChangedSince))


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_IN_LOG else f"{text[:_LONGEST_IN_LOG]}... ({len(text)} characters)"
