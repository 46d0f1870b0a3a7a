"""The effect, the result and the requests of each function. A second run changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.client.types import Created, CreateFields, DeploymentCreateFields
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    AlreadyExistsError,
    ChangeNotVisibleError,
    ChangeResult,
    FlagRef,
    IfExists,
    ensure_created,
    ensure_deployment,
    ensure_deployment_fields,
    ensure_weights,
)

from .trial import tells_what_is_so
from .world import IDS, IOS, KEYS, KINDS, OLD_IOS, PROJECT, SEGMENTS, WEB, by_id, by_key, name_of, seed, state
from .writes import (
    ARCHIVE,
    CREATE,
    CREATE_DEPLOYMENT,
    EDIT_DEPLOYMENT,
    ON_A_FLAG,
    ON_INCLUSIONS,
    WRITES,
    Write,
    each_of,
)

WAYS = pytest.mark.parametrize("way", [by_key, by_id], ids=["by-key", "by-id"])
BOTH_KINDS = pytest.mark.parametrize("kind", KINDS)
Way = Callable[[Kind], FlagRef]


def methods(emulator: Emulator) -> list[str]:
    return [entry["method"] for entry in emulator.request_log()]


@WAYS
@each_of(*WRITES)
def test_it_is_brought_about_and_run_twice_writes_nothing(
    emulator: Emulator, client: ManagementClient, write: Write, way: Way, kind: Kind
) -> None:
    write.prepared(emulator, kind)
    before = state(emulator)
    wanted = write.wanted(before, kind)

    first = write.run(client, way(kind))
    assert state(emulator) == wanted
    assert first.changed
    after = write.after
    if write is CREATE and kind == "experiments":
        after = {**after, "state": "planning"}
    if write is CREATE_DEPLOYMENT:
        after = {**after, "id": first.id}
    assert (first.before, first.after, first.notes) == (write.before, after, ())
    assert len(methods(emulator)) == write.requests[way is by_id]

    emulator.clear_requests()
    second = write.run(client, way(kind))
    assert not second.changed
    if write in ON_INCLUSIONS:
        count = write.after["count"]
        assert (second.before, second.after) == ({"count": count}, {"count": count, "added": 0, "removed": 0})
    else:
        assert second.before == second.after == first.after
    assert (second.id, second.key, second.url) == (first.id, first.key, first.url)
    assert methods(emulator) == ["GET"] * write.unchanged_requests[way is by_id]
    assert state(emulator) == wanted


@each_of(*ON_A_FLAG)
def test_the_outcome_says_which_it_was(emulator: Emulator, client: ManagementClient, write: Write, kind: Kind) -> None:
    write.prepared(emulator, kind)
    page = f"{emulator.base_url}/amplitude/{PROJECT}/config/{IDS[kind]}"
    by_its_key = write.run(client, by_key(kind))
    assert (by_its_key.id, by_its_key.key, by_its_key.url) == (IDS[kind], KEYS[kind], page)
    assert by_its_key.as_xcom() == {
        "id": IDS[kind],
        "key": KEYS[kind],
        "changed": True,
        "before": by_its_key.before,
        "after": by_its_key.after,
        "url": page,
    }
    read_whole = write.requests[0] == write.requests[1] and write.name != "create-deployment"
    by_its_id = write.run(client, by_id(kind))
    assert (by_its_id.id, by_its_id.key) == (IDS[kind], KEYS[kind] if read_whole else None)
    assert by_its_id.url == (page if read_whole else "")
    assert write.run(client, FlagRef(kind, id=IDS[kind], project_id=PROJECT)).url == page


@pytest.mark.parametrize(
    "settings",
    [
        {"ignore_filters": True, "page_size_cap": 1, "numeric_cursor": True, "write_body": "{}"},
        {"ignore_filters": True, "bare_arrays": True, "numeric_ids": True, "version_gaps": True},
    ],
    ids=lambda settings: "+".join(settings),
)
@pytest.mark.parametrize("write", WRITES, ids=str)
def test_other_ways_of_the_service_change_nothing(
    emulator: Emulator, client: ManagementClient, write: Write, settings: dict[str, object]
) -> None:
    # An older server lists no archived object, so an archived flag is found only by its id.
    target = (by_id if write is ARCHIVE else by_key)(write.kinds[0])
    write.prepared(emulator, write.kinds[0])
    emulator.settings(**settings)
    before = state(emulator)
    assert write.run(client, target).changed
    assert state(emulator) == write.wanted(before, write.kinds[0])
    assert not write.run(client, target).changed


def test_the_weights_are_never_all_zero_on_the_way(emulator: Emulator, client: ManagementClient) -> None:
    variants = [{"key": key} for key in "abc"]
    flag = emulator.create_flag("swap", variants=variants, rolloutWeights={"a": 1, "b": 0, "c": 0})
    assert ensure_weights(client, FlagRef("flags", id=flag["id"]), {"a": 0, "b": 0, "c": 1}).changed
    history = [version["flagConfig"]["rolloutWeights"] for version in emulator.versions("flags", flag["id"])]
    assert history == [{"a": 0, "b": 0, "c": 1}, {"a": 1, "b": 0, "c": 1}, {"a": 1, "b": 0, "c": 0}]


def exists(client: ManagementClient, if_exists: str, kind: Kind = "flags", **fields: object) -> ChangeResult:
    return ensure_created(
        client,
        kind,
        {"projectId": PROJECT, "key": KEYS[kind], **fields},  # type: ignore[typeddict-item]
        if_exists=if_exists,  # type: ignore[arg-type]
    )


@BOTH_KINDS
def test_one_that_somebody_else_creates_meanwhile_exists(
    emulator: Emulator, client: ManagementClient, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = FlagRef(kind, key="new").endpoints(client)
    create = endpoints.create

    def second(fields: CreateFields) -> Created:
        create({**fields, "name": "The first"})
        return create(fields)

    monkeypatch.setattr(endpoints, "create", second)
    assert not ensure_created(client, kind, {"projectId": PROJECT, "key": "a"}).changed
    assert ensure_created(client, kind, {"projectId": PROJECT, "key": "b", "name": "New"}, if_exists="update").changed
    with pytest.raises(AlreadyExistsError, match="'c'"):
        ensure_created(client, kind, {"projectId": PROJECT, "key": "c"}, if_exists="fail")
    assert [item["name"] for item in endpoints.list(project_id=PROJECT)][:3] == ["The first", "New", "The first"]


def test_deployments_that_can_be_read_only_once_are_assigned(client: ManagementClient) -> None:
    ensure_created(client, "flags", {"projectId": PROJECT, "key": "new", "deployments": iter([IOS])})  # type: ignore[typeddict-item]
    (flag,) = client.flags.list(key="new")
    assert flag["deployments"] == [IOS]


@BOTH_KINDS
def test_one_that_exists_is_skipped(emulator: Emulator, client: ManagementClient, kind: Kind) -> None:
    there = state(emulator)
    outcome = exists(client, "skip", kind, name="Another name")
    assert (outcome.changed, outcome.id, outcome.key) == (False, IDS[kind], KEYS[kind])
    assert state(emulator) == there
    assert methods(emulator) == ["GET"]


@BOTH_KINDS
def test_one_that_exists_is_refused_by_fail(emulator: Emulator, client: ManagementClient, kind: Kind) -> None:
    there = state(emulator)
    with pytest.raises(AlreadyExistsError, match=rf"'{KEYS[kind]}'.*{IDS[kind]}.*Nothing was changed"):
        exists(client, "fail", kind)
    assert state(emulator) == there


@BOTH_KINDS
def test_one_that_exists_is_updated_and_nothing_of_it_removed(
    emulator: Emulator, client: ManagementClient, kind: Kind
) -> None:
    wanted = {
        "name": "Another name",
        "variants": [{"key": "treatment", "payload": "x"}, {"key": "new"}],
        "rolloutWeights": {"treatment": 2, "new": 1},
        "deployments": [IOS],
    }
    before = state(emulator)[name_of(kind)]
    assert exists(client, "update", kind, **wanted).changed
    after = state(emulator)[name_of(kind)]
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"name", "variants", "rolloutWeights", "deployments", "versions"}
    assert after["name"] == "Another name"
    assert [variant["key"] for variant in after["variants"]] == ["control", "treatment", "old", "new"]
    assert after["variants"][1] == {"key": "treatment", "name": "Treatment", "payload": "x"}
    assert after["rolloutWeights"] == {"control": 1, "treatment": 2, "old": 0, "new": 1}
    assert after["deployments"] == [WEB, IOS]
    emulator.clear_requests()
    assert not exists(client, "update", kind, **wanted).changed
    assert set(methods(emulator)) == {"GET"}


@BOTH_KINDS
def test_an_update_may_weigh_a_new_variant_in_a_segment(
    emulator: Emulator, client: ManagementClient, kind: Kind
) -> None:
    wanted = {
        "variants": [{"key": "new"}],
        "targetSegments": [{**SEGMENTS[0], "percentage": 5, "rolloutWeights": {"new": 1}}],
    }
    assert exists(client, "update", kind, **wanted).changed
    assert state(emulator)[name_of(kind)]["targetSegments"][0]["rolloutWeights"] == {"new": 1}
    assert not exists(client, "update", kind, **wanted).changed


@pytest.mark.parametrize("status", [400, 404])
def test_an_update_that_fails_half_way_does_not_deny_the_first_half(
    emulator: Emulator, client: ManagementClient, status: int
) -> None:
    wanted = {"name": "Another name", "variants": [{"key": "new"}], "rolloutWeights": {"new": 1}, "deployments": [IOS]}
    before = state(emulator)
    for number in range(30):
        emulator.reset()
        seed(emulator)
        emulator.fault("status", status=status, skip=number)
        try:
            assert exists(client, "update", **wanted).changed
        except Exception as error:
            told = tells_what_is_so(error, before, state(emulator))
            if not told:
                pytest.fail(f"request {number}: {error}")
        if not emulator.faults()[0]["struck"]:
            break
    assert number > 10


@pytest.mark.parametrize(
    ("if_exists", "changed"), [("skip", False), ("update", True)], ids=["left archived", "restored"]
)
def test_an_archived_deployment(emulator: Emulator, client: ManagementClient, if_exists: str, changed: bool) -> None:
    outcome = ensure_deployment(
        client,
        {"projectId": PROJECT, "label": "old-ios", "type": "server"},
        if_exists=if_exists,  # type: ignore[arg-type]
    )
    assert (outcome.id, outcome.key, outcome.changed) == (OLD_IOS, "old-ios", changed)
    assert ((PROJECT, "old-ios", False) in state(emulator)["deployments"]) is changed


@pytest.mark.parametrize("if_exists", ["skip", "update"])
def test_a_deployment_in_use_goes_before_an_archived_one(
    emulator: Emulator, client: ManagementClient, if_exists: IfExists
) -> None:
    emulator.load({"deployments": [{"id": "600004", "label": "ios", "key": "server-newer-ios", "deleted": True}]})
    there = state(emulator)
    fields: DeploymentCreateFields = {"projectId": PROJECT, "label": "ios", "type": "server"}
    assert ensure_deployment(client, fields, if_exists=if_exists).id == IOS
    assert state(emulator) == there


def test_a_deployments_key_is_not_told(emulator: Emulator, client: ManagementClient, hasty: ManagementClient) -> None:
    for write in (CREATE_DEPLOYMENT, EDIT_DEPLOYMENT):
        told = write.run(client, by_id("flags"))
        assert "key" not in {**(told.before or {}), **told.after}  # type: ignore[dict-item]
    emulator.fault("status", status=200, body="OK", route="PATCH /api/1/deployments/{id}")
    with pytest.raises(ChangeNotVisibleError, match="'label': 'iphone'") as caught:
        ensure_deployment_fields(hasty, IOS, {"label": "other"})
    assert "server-ios" not in str(caught.value)
