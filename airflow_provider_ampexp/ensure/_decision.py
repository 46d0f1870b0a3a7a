"""Decide an experiment: roll out a winner, roll back, or continue, with the changes that Amplitude's app makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast, get_args

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, Json, TargetSegment, VariantFields
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change
from airflow_provider_ampexp.ensure._errors import ArchivedError, no_such_variant
from airflow_provider_ampexp.ensure._fields import differing
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, ResolvedFlag
from airflow_provider_ampexp.ensure._lost_updates import write_and_keep_edits
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import cohort_segments, refuse_cohorts, shown_segments, unknown_values
from airflow_provider_ampexp.ensure._weights import Weights, set_weights_of_all_other_users

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

Decision = Literal["rollout", "rollback", "continue-running"]
_ALL_WEIGHT = 100
_DISABLED = "The experiment is disabled, so no user gets the winner. Enable it with AmplitudeEnableOperator."

_SEGMENTS_NOT_SHOWN = (
    "Amplitude does not show the target segments, so they keep their percentages. The experiment is disabled, so no "
    "user gets a variant. Check the segments in Amplitude before you enable it again."
)


def ensure_decision(
    client: ManagementClient,
    target: FlagRef,
    decision: Decision,
    *,
    winner: str | None = None,
    reason: str | None = None,
    catch_all: str | None = None,
    chosen: Callable[[str], None] = lambda key: None,
) -> ChangeResult:
    """Record a decision about an experiment, and make the changes that Amplitude's app makes with it.

    * ``rollout``: all weight is on the winner and each percentage is 100, also in each target segment. Sticky bucketing
      is disabled.
    * ``rollback``: the experiment is disabled and each percentage is 0.
    * ``continue-running``: only the decision changes.

    The decision is written last. Without a change 1 request, for ``rollout`` 2.

    :param winner: the key of the variant to roll out, or its name if no other variant has the name
    :param reason: the recorded reason; the present one stays if not given
    :param catch_all: the name of a segment without conditions on purpose. Any other segment without visible conditions
        may be for a cohort, which cannot be sent back. Then a rollout is refused, and a rollback leaves the segments.
    :param chosen: called with the key of the winner before the first write
    :raises ArchivedError: when the experiment is archived
    :raises WrongStateError: when the variant does not exist, or a segment may be for a cohort
    :raises MissingFieldError: when the service does not show the segments or a weight, for ``rollout``
    :raises ConflictError: when another actor changed the same weights or segments at the same time
    """
    validate.choice("decision", decision, get_args(Decision))
    if target.kind != "experiments":
        raise InvalidInputError("target", f"expected an experiment, got {target}: only experiments have decisions")
    if (winner is not None) != (decision == "rollout"):
        raise InvalidInputError("winner", f"expected {'a variant' if winner is None else 'none'} for {decision!r}")
    config = target.read(client)
    variants = config.get("variants") or target.endpoints(client).variants(config["id"])
    experiment = _Experiment(client, target, _with_key_of_winner(config, variants), variants, catch_all)
    wanted: EditFields = {"decision": decision}
    if reason is not None:
        wanted["decisionReason"] = reason
    if winner is not None:
        return experiment.roll_out(winner, wanted, chosen)
    return experiment.roll_back(wanted) if decision == "rollback" else experiment.bring(wanted)


@dataclass(frozen=True)
class _Experiment:
    """An experiment as it was read, to be decided."""

    client: ManagementClient
    target: FlagRef
    config: FlagConfig
    variants: Sequence[VariantFields]
    catch_all: str | None

    def roll_out(self, winner: str, recorded: EditFields, chosen: Callable[[str], None]) -> ChangeResult:
        key = _key_of(winner, self.variants)
        if key is None:
            raise no_such_variant(self.target, winner, [variant["key"] for variant in self.variants])
        chosen(key)
        segments = shown_segments(self.config)
        rolled_out = [_rolled_out(segment, key, [variant["key"] for variant in self.variants]) for segment in segments]
        if rolled_out != segments:
            refuse_cohorts(self.config.get("key"), segments, catch_all=self.catch_all)
        wanted: EditFields = {
            "rolloutPercentage": 100,
            "stickyBucketing": False,
            "rolledOutVariant": key,
            **({"targetSegments": rolled_out} if segments else {}),
            **recorded,
        }
        self._refuse_archived(wanted)

        def wanted_weights(now: Weights) -> Weights:
            if key not in now:
                raise no_such_variant(self.target, key, now)
            return _all_on(key, now)

        weights = set_weights_of_all_other_users(self.client, self.target, ResolvedFlag.of(self.config), wanted_weights)
        with mention_sent_change(f"The weights of {self.target} were changed", when=lambda: weights.changed):
            rest = self.bring(wanted)
        return replace(
            rest,
            changed=rest.changed or weights.changed,
            before={"rolloutWeights": weights.before, **cast("Mapping[str, Json]", rest.before)},
            after={"rolloutWeights": weights.after, **cast("Mapping[str, Json]", rest.after)},
            notes=(*weights.notes, *rest.notes, *([_DISABLED] if self.config.get("enabled") is False else [])),
        )

    def roll_back(self, recorded: EditFields) -> ChangeResult:
        segments = list(self.config.get("targetSegments") or ())
        hidden = cohort_segments(segments, self.catch_all)
        hidden += [segment.get("name") for segment in segments if unknown_values({**segment, "percentage": 0})]
        wanted: EditFields = {"enabled": False, "rolloutPercentage": 0, **recorded}
        if segments and not hidden:
            wanted["targetSegments"] = [{**segment, "percentage": 0} for segment in segments]
        outcome = self.bring(wanted)
        if "targetSegments" not in self.config:
            return replace(outcome, notes=(*outcome.notes, _SEGMENTS_NOT_SHOWN))
        if not hidden or not any(segment.get("percentage") != 0 for segment in segments):
            return outcome
        note = (
            f"The target segments keep their percentages, because {', '.join(map(repr, hidden))} may be for a cohort, "
            "or is not shown in full, and cannot be sent back. The experiment is disabled, so no user gets a variant. "
            "Set the percentages to 0 in Amplitude before you enable it again."
        )
        return replace(outcome, notes=(*outcome.notes, note))

    def bring(self, wanted: EditFields) -> ChangeResult:
        self._refuse_archived(wanted)
        endpoints = self.target.endpoints(self.client)

        def read() -> FlagConfig:
            return _with_key_of_winner(endpoints.get(self.config["id"]), self.variants)

        return write_and_keep_edits(self.client, self.target, self.config, wanted, read=read)

    def _refuse_archived(self, wanted: EditFields) -> None:
        if self.config.get("deleted") and differing(self.config, wanted):
            raise ArchivedError(
                f"Deciding {self.target} failed: it is archived, so no user gets a variant. Nothing was changed. "
                "Restore it first."
            )


def _rolled_out(segment: TargetSegment, winner: str, keys: Iterable[str]) -> TargetSegment:
    shown = segment.get("rolloutWeights") or {}
    weights = _all_on(winner, {**dict.fromkeys(keys, 0), **shown})
    rolled_out: TargetSegment = {**segment, "percentage": 100}
    if any(shown.get(key, 0) != weight for key, weight in weights.items()):
        rolled_out["rolloutWeights"] = cast("Mapping[str, int]", weights)
    return rolled_out


def _all_on(winner: str, now: Mapping[str, float]) -> Weights:
    """Return all weights, with 0 for the others. A weight of the winner stays, because only its share counts."""
    return {key: (weight or _ALL_WEIGHT) if key == winner else 0 for key, weight in now.items()}


def _key_of(winner: str | None, variants: Sequence[VariantFields]) -> str | None:
    """Return the key of the variant with this key or this name. The service shows either."""
    if winner in [variant["key"] for variant in variants]:
        return winner
    named = [variant["key"] for variant in variants if variant.get("name") == winner]
    return named[0] if len(named) == 1 else None


def _with_key_of_winner(config: FlagConfig, variants: Sequence[VariantFields]) -> FlagConfig:
    key = _key_of(config.get("rolledOutVariant"), variants)
    return config if key is None else {**config, "rolledOutVariant": key}
