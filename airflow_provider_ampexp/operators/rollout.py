"""How much of a flag or experiment users get: percentages and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._change import AmplitudeExposureChangeOperator
from airflow_provider_ampexp.operators._rollout.ramp import AmplitudeRampRolloutOperator

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import ChangeResult, FlagRef
    from airflow_provider_ampexp.ensure._weights import Others

__all__ = ["AmplitudeRampRolloutOperator", "AmplitudeSetRolloutOperator", "AmplitudeSetWeightsOperator"]


class AmplitudeSetRolloutOperator(AmplitudeExposureChangeOperator):
    """Set the rollout percentage (contract: *Edit*, ``rolloutPercentage``; for a segment ``targetSegments``).

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param percentage: 0 to 100, whole: Amplitude buckets users in steps of 1 % (templated)
    :param segment: the target segment whose percentage to set (templated). If not given, the percentage of the users in
        no target segment. Other segments are sent back as they were.
    :param catch_all: the name of a target segment that has no conditions on purpose (templated). The API shows no
        conditions of a segment for a cohort, so with ``segment`` any other that shows none is refused.
    :param if_changed_since: when the percentage was changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)

    With sticky bucketing users keep their variant, so a lower percentage takes it from nobody. The log has a warning
    about that.
    """

    template_fields: Sequence[str] = (
        *AmplitudeExposureChangeOperator.template_fields,
        "percentage",
        "segment",
        "catch_all",
    )
    what = "set the rollout percentage of"

    def __init__(
        self, *, percentage: int | str, segment: str | None = None, catch_all: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.percentage = percentage
        self.segment = segment
        self.catch_all = catch_all
        arguments.check_literal("percentage", percentage, arguments.percentage)
        arguments.check_literal("segment", segment, arguments.optional(arguments.text))
        arguments.check_literal("catch_all", catch_all, arguments.optional(arguments.text))

    def written_fields(self) -> Sequence[str]:
        """The percentage; of a segment, that segment's."""
        segment = arguments.optional(arguments.text)("segment", self.segment)
        return ("rolloutPercentage",) if segment is None else (f"targetSegments[{segment}].percentage",)

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Set the percentage."""
        percentage = arguments.percentage("percentage", self.percentage)
        segment = arguments.optional(arguments.text)("segment", self.segment)
        catch_all = arguments.optional(arguments.text)("catch_all", self.catch_all)
        return ensure.ensure_percentage(client, target, percentage, segment=segment, catch_all=catch_all)


class AmplitudeSetWeightsOperator(AmplitudeExposureChangeOperator):
    """Set the weights of the variants (contract: *Edit variant*, ``rolloutWeight``).

    Takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param weights: such as ``{"control": 1, "treatment": 3}`` (templated)
    :param others: the weight of the variants that are not named: a number, such as 0 for a winner, or ``"keep"``
        (templated). If not given, all variants that have a weight must be named.
    :param segment: the name of a target segment whose own weights are meant (templated). If not given, they are those
        of the users whom no target segment captured.
    :param all_segments: the weights of every target segment and of all other users (default: False)
    :param catch_all: the name of a target segment that has no conditions on purpose (templated), as for
        :class:`AmplitudeSetRolloutOperator`
    :param if_changed_since: when the weights were changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)

    With sticky bucketing users keep their variant, so new weights count for new users only. To roll out a winner to all
    users, disable ``stickyBucketing`` too. The log has a warning about that.
    """

    template_fields: Sequence[str] = (
        *AmplitudeExposureChangeOperator.template_fields,
        "weights",
        "others",
        "segment",
        "catch_all",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"weights": "json"}
    what = "set the weights of"

    def __init__(
        self,
        *,
        weights: Mapping[str, float] | str,
        others: float | str | None = None,
        segment: str | None = None,
        all_segments: bool = False,
        catch_all: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.weights = weights
        self.others = others
        self.segment = segment
        self.all_segments = all_segments
        self.catch_all = catch_all
        arguments.check_literal("weights", weights, arguments.weights)
        arguments.check_literal("others", others, _others)
        arguments.check_literal("segment", segment, arguments.optional(arguments.text))
        arguments.check_literal("all_segments", all_segments, arguments.switch)
        arguments.check_literal("catch_all", catch_all, arguments.optional(arguments.text))
        if segment is not None and all_segments:
            raise InvalidInputError("segment/all_segments", "expected one of them, got both")

    def written_fields(self) -> Sequence[str]:
        """The weights."""
        segment = arguments.optional(arguments.text)("segment", self.segment)
        if segment is not None:
            return (f"targetSegments[{segment}].rolloutWeights",)
        return ("rolloutWeights", "targetSegments") if self.all_segments else ("rolloutWeights",)

    def sets(self, field: str, value: object) -> bool:
        """The weights, one variant after the other."""
        _, is_weight, key = field.partition("rolloutWeights.")
        wanted = arguments.weights("weights", self.weights).get(key, _others("others", self.others))
        return bool(is_weight) and value == wanted

    def change(self, client: ManagementClient, target: FlagRef) -> ChangeResult:
        """Set the weights."""
        outcome = ensure.ensure_weights(
            client,
            target,
            arguments.weights("weights", self.weights),
            others=_others("others", self.others),
            segment=arguments.optional(arguments.text)("segment", self.segment),
            all_segments=arguments.switch("all_segments", self.all_segments),
            catch_all=arguments.optional(arguments.text)("catch_all", self.catch_all),
        )
        if not outcome.changed or target.kind == "flags":  # only experiments have sticky bucketing
            return outcome
        from airflow_provider_ampexp.operators._at_run_time import weighed_notes

        config = ensure.FlagRef(target.kind, id=outcome.id).read(client)
        return replace(outcome, notes=(*outcome.notes, *weighed_notes(config)))


def _others(field: str, value: object) -> Others | None:
    """A weight, or that the variants keep theirs."""
    return value if value is None or value == "keep" else arguments.weight(field, value)
