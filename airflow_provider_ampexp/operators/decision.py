"""Decide an experiment: roll out the winner, roll back, or continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeExposureChangeOperator

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import ChangeResult, Decision, FlagRef
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook
    from airflow_provider_ampexp.rollout._plan import IfChangedSince

__all__ = ["AmplitudeDecideExperimentOperator"]

_decision = arguments.one_of("rollout", "rollback", "continue-running")
_WRITTEN = {
    "rollout": ("rolloutPercentage", "rolloutWeights", "targetSegments", "stickyBucketing"),
    "rollback": ("enabled", "rolloutPercentage", "targetSegments"),
    "continue-running": (),
}


class AmplitudeDecideExperimentOperator(AmplitudeExposureChangeOperator):
    """Record the decision about an experiment, and change the experiment as Amplitude's app does with that decision.

    * ``rollout``: the winner has all weight, and each percentage is 100, of each target segment and of all other users.
      Sticky bucketing is disabled. The operator does not enable a disabled experiment, and logs a warning.
    * ``rollback``: the experiment is disabled, and each percentage is 0.
    * ``continue-running``: only the decision changes.

    The operator writes the decision last, so a sensor that waits for the decision sees the other changes. The contract
    does not have the fields ``decision``, ``decisionReason`` and ``rolledOutVariant`` of *Edit*; the live service has
    them.

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator` for
    experiments, and:

    :param decision: ``rollout``, ``rollback`` or ``continue-running`` (templated)
    :param winner: for ``rollout`` the key of the variant, or its name if no other variant has the name (templated)
    :param reason: the reason to record (templated); if not given, the present reason stays
    :param catch_all: the name of a target segment without conditions on purpose (templated). Any other segment that
        shows no conditions may be for a cohort, and cannot be sent back. Then a rollout is refused. A rollback disables
        the experiment, leaves the segments, and logs a warning.
    :param if_changed_since: when a field to write was changed after the run was due and before it began: ``"fail"``,
        ``"skip"`` or ``"write"`` (templated). Default: ``"write"`` for a rollback, otherwise ``"fail"``.
    """

    template_fields: Sequence[str] = (
        *AmplitudeExposureChangeOperator.template_fields,
        "decision",
        "winner",
        "reason",
        "catch_all",
    )
    what = "decide"

    def __init__(
        self,
        *,
        decision: Decision | str,
        winner: str | None = None,
        reason: str | None = None,
        catch_all: str | None = None,
        if_changed_since: IfChangedSince | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(if_changed_since=if_changed_since, **kwargs)
        self.decision = decision
        self.winner = winner
        self.reason = reason
        self.catch_all = catch_all
        self._has_default = if_changed_since is None
        self._key_of_winner: str | None = None
        if self.flag_key is not None or self.flag_id is not None:
            raise InvalidInputError("flag_key/flag_id", "expected an experiment: a flag has no decision")
        arguments.check_literal("decision", decision, _decision)
        arguments.check_literal("winner", winner, arguments.optional(arguments.text))
        arguments.check_literal("reason", reason, arguments.optional(arguments.text))
        arguments.check_literal("catch_all", catch_all, arguments.optional(arguments.text))
        if arguments.is_literal(decision) and (winner is not None) != (decision == "rollout"):
            raise InvalidInputError("winner", f"expected {'a variant' if winner is None else 'none'} for {decision!r}")

    def written_fields(self) -> Sequence[str]:
        """Return the decision, and the fields that change with the decision."""
        return ("decision", *_WRITTEN[_decision("decision", self.decision)])

    def sets(self, field: str, value: object) -> bool:
        """Return true for a weight of a rollout: above 0 for the winner, and 0 for each other variant."""
        name, _, key = field.partition(".")
        known = self._key_of_winner is not None
        return name == "rolloutWeights" and known and bool(value) == (key == self._key_of_winner)

    def carry_out(self, hook: AmplitudeExperimentHook) -> ChangeResult:
        """Decide the experiment. Without ``if_changed_since``, a rollback writes also if the run is out of date."""
        if self._has_default and self.decision == "rollback":
            self.if_changed_since = "write"
        return super().carry_out(hook)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Decide the experiment."""
        return ensure.ensure_decision(
            client,
            target,
            cast("Decision", _decision("decision", self.decision)),
            winner=arguments.optional(arguments.text)("winner", self.winner),
            reason=arguments.optional(arguments.text)("reason", self.reason),
            catch_all=arguments.optional(arguments.text)("catch_all", self.catch_all),
            chosen=self._choose,
        )

    def _choose(self, key: str) -> None:
        self._key_of_winner = key
