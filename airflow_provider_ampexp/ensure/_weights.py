"""Set the weights of variants, which share the users out among the variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._actors import author_of
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._optional_fields import config_of
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, Json, TargetSegment, VariantFields
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change, read_until, write_and_confirm
from airflow_provider_ampexp.ensure._errors import (
    NOT_SHOWN_NEXT_STEP,
    ChangeNotVisibleError,
    ConflictError,
    MissingFieldError,
    WrongStateError,
    no_such_variant,
)
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, ResolvedFlag
from airflow_provider_ampexp.ensure._lost_updates import find_overwritten, write_and_keep_edits
from airflow_provider_ampexp.ensure._no_weight import ALL_OTHER_USERS, check_weights_left
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import find_segment, refuse_cohorts, refuse_unknown_values, shown_segments

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

Others = Literal["keep"] | float
Weights = dict[str, float]


def ensure_weights(
    client: ManagementClient,
    target: FlagRef,
    weights: Mapping[str, float],
    *,
    others: Others | None = None,
    segment: str | None = None,
    all_segments: bool = False,
    catch_all: str | None = None,
) -> ChangeResult:
    """Set the weights of variants, of all other users or of target segments.

    Weights of all other users are set through the variants, as in the contract. Higher weights are set first, so the
    sum is never 0.

    :param others: the weight of variants that are not named; ``"keep"`` leaves their weights. Without ``others``, such
        a variant with a weight is an error.
    :param segment: the name of a target segment, to set its weights
    :param all_segments: set the weights of each target segment and of all other users
    :param catch_all: as for :func:`~airflow_provider_ampexp.ensure._rollout_percentage.ensure_percentage`
    :raises WrongStateError: when a variant does not exist, when a variant that is not named has a weight, or when the
        sum would be 0
    :raises ConflictError: when another actor changed the same weights at the same time; that change was restored
    """
    validate.some("weights", weights, "at least one variant")
    for key, value in weights.items():
        validate.weight(f"weights.{key}", value)
    if others is not None and others != "keep":
        validate.weight("others", others)
    if segment is not None and all_segments:
        raise InvalidInputError("segment/all_segments", "expected one of them, got both")

    def of_all_other_users(now: Weights) -> Weights:
        return _wanted(target, "all other users", now, weights, others)

    if segment is None and not all_segments:
        return set_weights_of_all_other_users(client, target, target.identify(client), of_all_other_users)
    config = target.read(client)
    chosen = shown_segments(config) if segment is None else [find_segment(config, segment)]
    outcome = _of_segments(client, target, config, chosen, weights, others, catch_all)
    if segment is not None:
        return outcome
    with mention_sent_change(f"The weights of the segments of {target} were changed", when=lambda: outcome.changed):
        rest = set_weights_of_all_other_users(client, target, ResolvedFlag.of(config), of_all_other_users)
    return replace(
        rest,
        changed=rest.changed or outcome.changed,
        before={"segments": outcome.before, "all other users": rest.before},
        after={"segments": outcome.after, "all other users": rest.after},
        notes=(*outcome.notes, *rest.notes),
    )


def _wanted(
    target: FlagRef, place: str, now: Mapping[str, float | None], weights: Mapping[str, float], others: Others | None
) -> Weights:
    """Return all weights of one place."""
    unknown = sorted(set(weights) - set(now))
    if unknown:
        raise no_such_variant(target, unknown[0], now)
    left = {key: weight for key, weight in now.items() if key not in weights and weight != 0}
    if left and others is None:
        raise WrongStateError(
            f"The weights of {place} of {target} name only {sorted(weights)}, and {left} would stay. Nothing was "
            "changed. Name all variants, or set the rest with others=0 or others='keep'."
        )
    if others == "keep" and None in left.values():
        raise MissingFieldError(
            f"Amplitude does not show all weights of {place} of {target}: {left}. Nothing was changed. Name all "
            "variants."
        )
    kept = {key: weight or 0 for key, weight in now.items()}
    rest = kept if others in (None, "keep") else dict.fromkeys(now, cast("float", others))
    wanted = {**rest, **weights}
    if not any(wanted.values()):
        raise WrongStateError(
            f"The weights of {place} of {target} would all be 0: no user would get a variant. Nothing was changed. "
            "Give at least one variant a weight."
        )
    return wanted


def _of_segments(
    client: ManagementClient,
    target: FlagRef,
    config: FlagConfig,
    chosen: Sequence[TargetSegment],
    weights: Mapping[str, float],
    others: Others | None,
    catch_all: str | None,
) -> ChangeResult:
    segments: list[TargetSegment] = []
    shown_before = shown_segments(config)
    for segment in shown_before:
        if segment not in chosen:
            segments.append(segment)
            continue
        shown = segment.get("rolloutWeights") or {}
        known = {**{str(variant.get("key")): 0 for variant in config.get("variants") or ()}, **shown}
        wanted = _wanted(target, f"segment {segment.get('name')!r}", known, weights, others)
        if any(wanted[key] != known[key] for key in wanted):
            segment = cast("TargetSegment", {**segment, "rolloutWeights": wanted})
        segments.append(segment)
    if segments != shown_before:
        refuse_cohorts(config.get("key"), shown_before, catch_all=catch_all)
        refuse_unknown_values(config, segments)
    outcome = write_and_keep_edits(client, target, config, cast("EditFields", {"targetSegments": segments}))
    names = [segment.get("name") for segment in chosen]
    return replace(
        outcome,
        before={str(segment.get("name")): cast("Json", segment.get("rolloutWeights")) for segment in chosen},
        after={
            str(segment.get("name")): cast("Json", segment.get("rolloutWeights"))
            for segment in segments
            if segment["name"] in names
        },
    )


def set_weights_of_all_other_users(
    client: ManagementClient, target: FlagRef, identity: ResolvedFlag, wanted_of: Callable[[Weights], Weights]
) -> ChangeResult:
    """Set the weights of the users in no target segment, higher weights first.

    :param wanted_of: returns all wanted weights for the present ones
    :raises ConflictError: when another actor changed the same weights at the same time; that change was restored. Also
        when another actor took the other weights at the same time, so that no weight is left.
    :raises MissingFieldError: when the service does not show a weight
    """
    endpoints = target.endpoints(client)

    def read() -> Weights:
        return {str(variant.get("key")): _weight(target, variant) for variant in endpoints.variants(identity.id)}

    before = read()
    wanted = wanted_of(before)
    wrong = {key: value for key, value in wanted.items() if before[key] != value}
    after = before
    notes: tuple[str, ...] = ()
    if wrong:
        done: list[str] = []
        for key, value in sorted(wrong.items(), key=lambda item: item[1] < before[item[0]]):
            with mention_sent_change(
                f"The weights of {done} were changed, but not that of {key!r}", when=lambda: bool(done)
            ):
                write_and_confirm(
                    client,
                    f"Setting the weight of variant {key!r} of {target}",
                    partial(endpoints.edit_variant, identity.id, key, cast("VariantFields", {"rolloutWeight": value})),
                    lambda key=key, value=value: read().get(key) == value,  # type: ignore[misc]
                )
            done.append(key)
        after, is_applied = read_until(client, read, lambda now: wrong.items() <= now.items())
        if not is_applied:
            raise ChangeNotVisibleError(
                f"Setting the weights of {target} to {wrong} failed: Amplitude accepted the change, but shows {after}. "
                f"{NOT_SHOWN_NEXT_STEP}"
            )
        notes = restore_weights(client, target, identity, before, wrong)
        if any(wanted.values()):
            check_weights_left(f"Setting the weights of {target}", ALL_OTHER_USERS, after.values())
    return ChangeResult(identity.id, identity.key, bool(wrong), before, after, identity.url(client), notes)


def _weight(target: FlagRef, variant: VariantFields) -> float:
    if "rolloutWeight" not in variant:
        raise MissingFieldError(
            f"Amplitude does not show the weight of variant {variant.get('key')!r} of {target}. No weight was changed. "
            "Check the weights in Amplitude."
        )
    return variant["rolloutWeight"]


def restore_weights(
    client: ManagementClient,
    target: FlagRef,
    identity: ResolvedFlag,
    read: Weights,
    sent: Weights,
    *,
    former_key: str = "",
) -> tuple[str, ...]:
    """Restore weights that another actor set between our read and our write. It reads the versions.

    :param former_key: the key of the variant in the versions before our write, if our write renamed it
    :raises ConflictError: when it restored a weight
    """
    endpoints = target.endpoints(client)
    try:
        versions = endpoints.versions(identity.id)
    except ManagementApiError as error:
        return (f"The weights were written, but a check for overwritten changes failed: {error}",)
    restored = []
    for key, value in sent.items():

        def shown(config: FlagConfig, key: str = key) -> float | None:
            weights = config.get("rolloutWeights")
            return None if weights is None else weights.get(key, weights.get(former_key, 0))

        lost = find_overwritten(versions, shown, read[key], value)
        if lost is not None and lost.is_last:
            had = shown(config_of(lost.version))
            endpoints.edit_variant(identity.id, key, cast("VariantFields", {"rolloutWeight": had}))
            who = author_of(lost.version)
            restored.append(f"{who} set the weight of {key!r} to {had}")
    if restored:
        raise ConflictError(
            f"Conflict on the weights of {target}: while this task was writing, {'; '.join(restored)}. That was "
            "restored. The other weights are those of this task. Check both, then run the task again."
        )
    return ()
