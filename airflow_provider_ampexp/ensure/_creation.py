"""Make sure that a flag or experiment exists (contract: *Create*)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import _request_body as request_body
from airflow_provider_ampexp.client._errors import InvalidRequestError
from airflow_provider_ampexp.client.types import CreateFields, EditFields, FlagConfig, Json
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change, read_until, write_and_confirm
from airflow_provider_ampexp.ensure._deployments import ensure_assigned
from airflow_provider_ampexp.ensure._edit import refuse_wrong_segments
from airflow_provider_ampexp.ensure._errors import (
    USE_EXISTING,
    AlreadyExistsError,
    ArchivedError,
    ChangeNotVisibleError,
)
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, flag_url
from airflow_provider_ampexp.ensure._lost_updates import write_and_keep_edits
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import refuse_catch_alls
from airflow_provider_ampexp.ensure._variants import IfExists, ensure_variant
from airflow_provider_ampexp.ensure._weights import ensure_weights

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind

_Found = TypeVar("_Found")

# The fields that both a create and an edit accept.
_EDITABLE = ("name", "description", "bucketingKey", "targetSegments", "evaluationMode", "experimentType")


def ensure_created(
    client: ManagementClient,
    kind: Kind,
    fields: CreateFields,
    *,
    if_exists: IfExists = "skip",
    catch_all: str | None = None,
) -> ChangeResult:
    """Make sure that the project has a flag or experiment with this key.

    :param fields: the fields of the new object; ``projectId`` and ``key`` are required
    :param if_exists: for an existing object: ``skip`` leaves it, ``update`` sets the given fields and adds variants and
        deployments, ``fail`` raises
    :param catch_all: the name of a target segment without conditions on purpose; any other one without conditions is
        refused
    :raises ArchivedError: when the object exists and is archived, because it would give the feature to nobody

    1 request if the object exists and is left, 3 if it is created.
    """
    fields = cast("CreateFields", request_body.flag_fields(fields))
    key = validate.name("key", fields.get("key"))
    target = FlagRef(kind, key=key, project_id=validate.name("projectId", fields.get("projectId")))
    endpoints = target.endpoints(client)

    def find() -> FlagConfig | None:
        return endpoints.find(key, project_id=target.project_id)

    def create() -> object:
        refuse_catch_alls(key, (), fields.get("targetSegments", ()), catch_all=catch_all)
        return endpoints.create(fields)

    config, is_new = find_or_create(client, target, find, create)
    if not is_new:
        return _take(client, target, config, fields, if_exists, catch_all)
    return ChangeResult(config["id"], key, True, None, _told(config), flag_url(client, config))


def find_or_create(
    client: ManagementClient, what: object, find: Callable[[], _Found | None], create: Callable[[], object]
) -> tuple[_Found, bool]:
    """Return an object whose key is unique, and true if this call created it.

    :param what: the object, for the errors
    """
    if (existing := find()) is not None:
        return existing, False
    try:
        write_and_confirm(client, f"Creating {what}", create, lambda: find() is not None)
    except InvalidRequestError:
        existing = find()
        if existing is None:
            raise
        return existing, False  # another actor has created it after the first read
    created, _ = read_until(client, find, lambda found: found is not None)
    if created is None:
        raise ChangeNotVisibleError(
            f"Creating {what} failed: Amplitude accepted it, but does not show it. Check Amplitude before you retry."
        )
    return created, True


def _take(
    client: ManagementClient,
    target: FlagRef,
    existing: FlagConfig,
    fields: CreateFields,
    if_exists: IfExists,
    catch_all: str | None,
) -> ChangeResult:
    if if_exists == "fail":
        raise AlreadyExistsError(f"{target} already exists (id {existing['id']}). Nothing was changed. {USE_EXISTING}")
    if existing.get("deleted"):
        raise ArchivedError(f"{target} already exists and is archived. Nothing was changed. Restore it first.")
    if if_exists == "skip":
        return ChangeResult(
            existing["id"], target.key, False, _told(existing), _told(existing), flag_url(client, existing)
        )
    by_id = FlagRef(target.kind, id=existing["id"])
    wanted = cast("EditFields", {name: value for name, value in fields.items() if name in _EDITABLE})
    refuse_wrong_segments(existing, wanted, catch_all=catch_all)
    done: list[ChangeResult] = []
    with mention_sent_change(f"A part of {target} was changed", when=lambda: any(step.changed for step in done)):
        # A weight is taken from a variant after the others have theirs.
        for variant in sorted(fields.get("variants", ()), key=lambda variant: variant.get("rolloutWeight") == 0):
            done.append(ensure_variant(client, by_id, variant, if_exists="update"))
        # After the variants, because segments may have weights for them.
        done.append(write_and_keep_edits(client, target, existing, wanted))
        if fields.get("rolloutWeights"):
            done.append(ensure_weights(client, by_id, fields["rolloutWeights"], others="keep"))
        if fields.get("deployments"):
            done.append(ensure_assigned(client, by_id, fields["deployments"]))
        changed = any(step.changed for step in done)
        now = by_id.read(client) if changed else existing
    notes = tuple(note for step in done for note in step.notes)
    return ChangeResult(
        existing["id"], target.key, changed, _told(existing), _told(now), flag_url(client, existing), notes
    )


def _told(config: FlagConfig) -> Json:
    """Return the fields of an existing object that show its rollout."""
    read = cast("dict[str, Json]", config)
    return {name: read[name] for name in ("enabled", "rolloutPercentage", "state") if name in read}
