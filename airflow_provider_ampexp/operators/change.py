"""How a task changes something: connect, bring it to the wanted state, and say what became of it."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_ampexp.operators.asset_events import tell_assets
from airflow_provider_ampexp.operators.errors import doing
from airflow_provider_ampexp.operators.link import show_link
from airflow_provider_ampexp.operators.target import AmplitudeOperator, AmplitudeTargetOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.flags import Kind
    from airflow_provider_ampexp.ensure import Outcome, OutcomeXCom, Target
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

_LONGEST_IN_LOG = 300


class AmplitudeChangeOperator(AmplitudeOperator):
    """A task that makes a change.

    It returns (and pushes to XCom) ``{"id", "key", "changed", "before", "after", "url"}``. It reads first and writes
    only the difference, so that a second run changes nothing and says ``changed: False``.
    """

    what: ClassVar[str]
    """What it does, for logs and errors, such as ``archive``."""

    def execute(self, context: Context) -> OutcomeXCom:
        """Carry out the change.

        :raises AirflowFailException: when no retry can mend what went wrong
        :raises AmplitudeTaskError: when one may
        """
        with doing(f"{self.what} {self.described()}"), self.hook() as hook:
            outcome = self.carry_out(hook)
            if (kind := self.changed_kind()) is not None:
                tell_assets(self, context, hook, kind, outcome.as_xcom())
        self._say(outcome)
        show_link(context, outcome.url)
        return outcome.as_xcom()

    @abstractmethod
    def carry_out(self, hook: AmplitudeExperimentHook) -> Outcome:
        """Make the change."""

    @abstractmethod
    def described(self) -> str:
        """To what it is done, in words."""

    def changed_kind(self) -> Kind | None:
        """Whether a flag or an experiment is changed; ``None`` when it is neither."""
        return None

    def _say(self, outcome: Outcome) -> None:
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

    def carry_out(self, hook: AmplitudeExperimentHook) -> Outcome:
        """Find out which flag or experiment is meant, and change it."""
        return self.change(hook.client, self.target(self.project_of(hook)))

    def changed_kind(self) -> Kind | None:
        """As its target is named."""
        return self.target(None).kind

    @abstractmethod
    def change(self, client: ManagementClient, target: Target) -> Outcome:
        """Bring the flag or experiment to the wanted state."""


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_IN_LOG else f"{text[:_LONGEST_IN_LOG]}... ({len(text)} characters)"
