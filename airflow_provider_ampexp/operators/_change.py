"""How a task changes something: connect, bring it to the wanted state, and say what became of it."""

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
    """A task that makes a change.

    It returns (and pushes to XCom) ``{"id", "key", "changed", "before", "after", "url"}``. It reads first and writes
    only the difference, so that a second run changes nothing and says ``changed: False``.
    """

    what: ClassVar[str]
    """What it does, for logs and errors, such as ``archive``."""

    def execute(self, context: Context) -> ChangeResultXCom:
        """Carry out the change.

        :raises AirflowFailException: when a retry cannot fix the error
        :raises AmplitudeTaskError: when one may
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
        """To what it is done, in words."""

    def changed_kind(self) -> Kind | None:
        """Whether a flag or an experiment is changed; ``None`` when it is neither."""
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
                "Nothing to do: %s %s (id %s). It is: %s.",
                self.what,
                self.described(),
                outcome.id,
                _short(outcome.after),
            )
        for note in outcome.notes:
            self.log.warning("%s", note)


class AmplitudeTargetChangeOperator(AmplitudeTargetOperator, AmplitudeChangeOperator):
    """A task that changes one flag or experiment."""

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Find out which flag or experiment is meant, and change it."""
        return self.change(hook.client, self.target(self.project_of(hook)))

    def changed_kind(self) -> Kind | None:
        """As its target is named."""
        return self.target(None).kind

    @abstractmethod
    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Bring the flag or experiment to the wanted state."""


class AmplitudeIfChangedSinceOperator(AmplitudeChangeOperator):
    """A task that does not undo a later change of another actor.

    :param if_changed_since: the effect of a change of the same field after the run was due and before it began, as in
        an old run that is cleared or filled in; for a retry, after the first attempt began (Airflow 3.3). ``"fail"``,
        ``"skip"`` or ``"write"`` (templated). A change of any actor counts. A run that begins within a minute is not
        out of date.
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
        """The fields that it may change, as the version history calls them.

        ``deployments[1]`` is whether the flag is assigned to that deployment.
        """

    def sets(self, field: str, value: object) -> bool:
        """Whether it sets this field, by its path in the version history, to this value, in a write of its own.

        A task of several writes says so for all but the last: a retry then completes what an earlier attempt began.
        """
        return False

    def execute(self, context: Context) -> ChangeResultXCom:
        """Carry out the change, unless the run is out of date.

        :raises AirflowFailException: when it is, or when a retry cannot fix the error
        :raises AirflowSkipException: when it is, with ``if_changed_since="skip"``
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        self._context = context
        return super().execute(context)

    def refuse_if_outdated(self, client: ManagementClient, target: FlagRef) -> None:
        """Let the client refuse its first write of this flag or experiment when the run is out of date."""
        from airflow_provider_ampexp.operators._at_run_time import NO_RETRY, refuse_before_a_write, this_attempt

        then = _if_changed_since("if_changed_since", self.if_changed_since)
        if self._context is None or then == "write":
            return
        # A task without retries has no attempt that a second one would have to know of.
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
    """A task that changes who gets an existing flag or experiment, and does not undo a later change of another actor.

    Takes the arguments of :class:`AmplitudeIfChangedSinceOperator`.
    """

    template_fields: Sequence[str] = (*AmplitudeTargetChangeOperator.template_fields, "if_changed_since")

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Find out which flag or experiment is meant, and change it."""
        target = self.target(self.project_of(hook))
        self.refuse_if_outdated(hook.client, target)
        return self.change(hook.client, target)


_if_changed_since = arguments.one_of(*get_args(IfChangedSince))


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_IN_LOG else f"{text[:_LONGEST_IN_LOG]}... ({len(text)} characters)"
