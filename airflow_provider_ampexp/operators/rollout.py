"""Set the percentages and weights of a flag or experiment."""

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

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param percentage: a whole number from 0 to 100, because Amplitude buckets users in steps of 1 % (templated)
    :param segment: the target segment whose percentage is set (templated). If not given, the task sets the percentage
        of the users in no target segment. Other segments are sent back as they were.
    :param catch_all: the name of a target segment that has no conditions on purpose (templated). The API does not show
        the conditions of a segment for a cohort, so with ``segment`` any other segment without conditions is refused.
    :param if_changed_since: when the percentage was changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)

    With sticky bucketing, users keep their variant, so a lower percentage removes no user. The task logs a warning
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
        """Return the percentage of the segment, or of the users in no target segment."""
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

    The task takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param weights: such as ``{"control": 1, "treatment": 3}`` (templated)
    :param others: the weight of the variants that are not named: a number, such as 0 for a winner, or ``"keep"``
        (templated). If not given, ``weights`` must name all variants that have a weight.
    :param segment: the target segment whose own weights are set (templated). If not given, the task sets the weights of
        the users in no target segment.
    :param all_segments: set the weights of each target segment and of all other users (default: False)
    :param catch_all: the name of a target segment that has no conditions on purpose (templated), as for
        :class:`AmplitudeSetRolloutOperator`
    :param if_changed_since: when the weights were changed after the run was due and before it began: ``"fail"``
        (default), ``"skip"`` or ``"write"`` (templated)

    With sticky bucketing, users keep their variant, so new weights apply to new users only. To roll out a winner to all
    users, disable ``stickyBucketing`` too. The task logs a warning about that.
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
        """Return the fields of the weights that the task sets."""
        segment = arguments.optional(arguments.text)("segment", self.segment)
        if segment is not None:
            return (f"targetSegments[{segment}].rolloutWeights",)
        return ("rolloutWeights", "targetSegments") if self.all_segments else ("rolloutWeights",)

    def sets(self, field: str, value: object) -> bool:
        """Return true for a weight that the task sets. Each variant is a write of its own."""
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
    """Return the weight of the other variants; ``"keep"`` and ``None`` are returned as they are."""
    return value if value is None or value == "keep" else arguments.weight(field, value)
