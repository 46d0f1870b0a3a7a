"""Bring the variants of a flag or experiment to a state (contract: *Create variant* to *Remove variant*)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import _request_body as request_body
from airflow_provider_ampexp.client._errors import NotFoundError
from airflow_provider_ampexp.client.types import Json, VariantFields
from airflow_provider_ampexp.ensure._confirmation import (
    mention_sent_change,
    read_until,
    wait_until_visible,
    write_and_confirm,
)
from airflow_provider_ampexp.ensure._errors import (
    NOT_SHOWN_NEXT_STEP,
    USE_EXISTING,
    AlreadyExistsError,
    ChangeNotVisibleError,
    WrongStateError,
    no_such_variant,
)
from airflow_provider_ampexp.ensure._fields import same_json
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, ResolvedFlag
from airflow_provider_ampexp.ensure._no_weight import (
    ALL_OTHER_USERS,
    check_weights_left,
    refuse_all_the_weight,
    weights_by_place,
)
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._weights import restore_weights

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

IfExists = Literal["skip", "update", "fail"]


def ensure_variant(
    client: ManagementClient, target: FlagRef, fields: VariantFields, *, if_exists: IfExists = "skip"
) -> ChangeResult:
    """Make sure that a variant with this key exists.

    :param if_exists: for an existing variant: ``skip`` leaves it, ``update`` sets ``fields``, ``fail`` raises
    :raises WrongStateError: when the variant has all the weight of all other users, and would have none
    :raises ConflictError: when another actor changed its weight at the same time; that change was restored
    """
    request_body.variant_fields(fields)
    key = validate.name("key", fields.get("key"))
    identity = target.identify(client)
    variants = read_variants(client, target, identity)
    existing = variants.get(key)
    if existing is not None:
        if if_exists == "fail":
            raise AlreadyExistsError(f"Variant {key!r} of {target} already exists. Nothing was changed. {USE_EXISTING}")
        if if_exists == "update":
            return _bring_to(client, target, identity, variants, existing, fields)
        return _outcome(client, identity, existing, existing, fields)

    endpoints = target.endpoints(client)
    write_and_confirm(
        client,
        f"Creating variant {key!r} of {target}",
        lambda: endpoints.create_variant(identity.id, fields),
        lambda: _read(client, target, identity, key) is not None,
    )
    return _read_back(client, target, identity, None, fields)


def ensure_variant_fields(
    client: ManagementClient, target: FlagRef, variant: str, fields: VariantFields
) -> ChangeResult:
    """Set the named fields of a variant. Another ``key`` renames the variant.

    :raises WrongStateError: when the variant has all the weight of all other users, and would have none
    :raises ConflictError: when another actor changed its weight at the same time; that change was restored
    """
    request_body.variant_fields(fields)
    identity = target.identify(client)
    new_key = fields.get("key", variant)
    variants = read_variants(client, target, identity)
    existing = variants.get(variant)
    if new_key != variant:
        if existing is not None and new_key in variants:
            raise AlreadyExistsError(
                f"{target} already has a variant {new_key!r}. Nothing was changed. Name another key."
            )
        existing = existing or variants.get(new_key)  # renamed by an earlier run
    if existing is None:
        raise no_such_variant(target, variant, variants)
    return _bring_to(client, target, identity, variants, existing, fields)


def ensure_variant_absent(client: ManagementClient, target: FlagRef, variant: str) -> ChangeResult:
    """Make sure that no variant has this key. Its inclusions are removed with it.

    :raises WrongStateError: when the variant has all the weight, of all users or of a target segment
    :raises ConflictError: when another actor took the other weights at the same time, so that no weight is left
    """
    identity = target.identify(client)
    existing = _read(client, target, identity, variant)
    notes: tuple[str, ...] = ()
    if existing is not None:
        endpoints = target.endpoints(client)
        doing = f"Removing variant {variant!r} of {target}"
        config = endpoints.get(identity.id)
        places = weights_by_place(config)
        if len(config.get("variants") or ()) > 1:
            for place, weights in places.items():
                refuse_all_the_weight(doing, variant, place, weights)
        if count := len(endpoints.inclusions(identity.id, variant)):
            notes = (f"{count} inclusions of variant {variant!r} were removed with it.",)
        write_and_confirm(
            client,
            doing,
            lambda: endpoints.remove_variant(identity.id, variant),
            lambda: _read(client, target, identity, variant) is None,
        )
        if not wait_until_visible(client, lambda: _read(client, target, identity, variant) is None):
            raise _held(doing, "still shows it")
        with mention_sent_change(f"Variant {variant!r} of {target} was removed, but reading the weights failed"):
            left = weights_by_place(endpoints.get(identity.id))
        for place, weights in places.items():
            if place in left and any(weight for key, weight in weights.items() if key != variant):
                check_weights_left(doing, place, left[place].values())
    before = cast("Json", existing)
    return ChangeResult(identity.id, identity.key, existing is not None, before, None, identity.url(client), notes)


def _bring_to(
    client: ManagementClient,
    target: FlagRef,
    identity: ResolvedFlag,
    variants: Mapping[str, VariantFields],
    existing: VariantFields,
    fields: VariantFields,
) -> ChangeResult:
    wrong = _differing(existing, fields)
    if not wrong:
        return _outcome(client, identity, existing, existing, fields)
    endpoints = target.endpoints(client)
    key = existing["key"]
    new_key = wrong.get("key", key)
    doing = f"Editing variant {key!r} of {target}"
    weight = wrong.get("rolloutWeight")
    weights = _weights(variants)
    if weight == 0 and weights is not None:
        refuse_all_the_weight(f"Setting the weight of variant {key!r} of {target} to 0", key, ALL_OTHER_USERS, weights)
    write_and_confirm(
        client,
        doing,
        lambda: endpoints.edit_variant(identity.id, key, wrong),
        lambda: _shows(_read(client, target, identity, new_key), wrong),
    )
    outcome = _read_back(client, target, identity, existing, {"key": key, **fields})
    if weight is None or weights is None:
        return outcome
    read = {new_key: weights[key]}
    notes = restore_weights(client, target, identity, read, {new_key: weight}, former_key=key)
    if weight == 0:
        with mention_sent_change(f"Variant {key!r} of {target} was changed, but reading the weights failed"):
            left = _weights(read_variants(client, target, identity))
        if left is not None:
            check_weights_left(doing, ALL_OTHER_USERS, left.values())
    return replace(outcome, notes=(*outcome.notes, *notes))


def _weights(variants: Mapping[str, VariantFields]) -> dict[str, float] | None:
    """Return the weights of all other users; ``None`` unless each variant shows its weight."""
    weights: dict[str, float] = {
        key: variant["rolloutWeight"] for key, variant in variants.items() if "rolloutWeight" in variant
    }
    return weights if len(weights) == len(variants) else None


def _read_back(
    client: ManagementClient,
    target: FlagRef,
    identity: ResolvedFlag,
    before: VariantFields | None,
    fields: VariantFields,
) -> ChangeResult:
    now, is_applied = read_until(
        client, lambda: _read(client, target, identity, fields["key"]), lambda now: _shows(now, fields)
    )
    if not is_applied:
        raise _held(f"Setting variant {fields['key']!r} of {target} to {dict(fields)}", f"shows {now}")
    return _outcome(client, identity, before, now, fields)


def _read(client: ManagementClient, target: FlagRef, identity: ResolvedFlag, key: str) -> VariantFields | None:
    return read_variants(client, target, identity).get(key)


def read_variants(client: ManagementClient, target: FlagRef, identity: ResolvedFlag) -> dict[str, VariantFields]:
    """Return the variants by their keys.

    :raises WrongStateError: when the flag does not exist
    """
    # Read the list: a 404 on one variant can mean a missing variant or a missing flag.
    try:
        variants = target.endpoints(client).variants(identity.id)
    except NotFoundError:
        raise WrongStateError(f"The {target} does not exist. Nothing was changed.") from None
    return {str(variant.get("key")): variant for variant in variants}


def _differing(existing: VariantFields, wanted: VariantFields) -> VariantFields:
    now = cast("dict[str, Any]", existing)
    wrong = {name: value for name, value in wanted.items() if name not in now or not same_json(now[name], value)}
    return cast("VariantFields", wrong)


def _shows(existing: VariantFields | None, wanted: VariantFields) -> bool:
    return existing is not None and not _differing(existing, wanted)


def _outcome(
    client: ManagementClient,
    identity: ResolvedFlag,
    before: VariantFields | None,
    after: VariantFields | None,
    named: VariantFields,
) -> ChangeResult:
    was, now = (_only(config, named) for config in (before, after))
    return ChangeResult(identity.id, identity.key, not same_json(was, now), was, now, identity.url(client))


def _only(existing: VariantFields | None, named: VariantFields) -> Json:
    if existing is None:
        return None
    return {name: value for name, value in cast("dict[str, Json]", existing).items() if name == "key" or name in named}


def _held(wanted: str, instead: str) -> ChangeNotVisibleError:
    return ChangeNotVisibleError(
        f"{wanted} failed: Amplitude accepted the change, but {instead}. {NOT_SHOWN_NEXT_STEP}"
    )
