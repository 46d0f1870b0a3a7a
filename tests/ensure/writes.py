"""All kinds of changes of ``ensure``, each with its call, its expected effect and its number of requests."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.client._flags import Kind
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeResult,
    FlagRef,
    GroupRef,
    ensure_archived,
    ensure_assigned,
    ensure_cohorts_included,
    ensure_cohorts_not_included,
    ensure_created,
    ensure_decision,
    ensure_dependencies,
    ensure_deployment,
    ensure_deployment_fields,
    ensure_exactly_cohorts,
    ensure_exactly_included,
    ensure_fields,
    ensure_group,
    ensure_group_fields,
    ensure_in_group,
    ensure_included,
    ensure_no_inclusions,
    ensure_not_assigned,
    ensure_not_in_group,
    ensure_not_included,
    ensure_percentage,
    ensure_variant,
    ensure_variant_absent,
    ensure_variant_fields,
    ensure_version,
    ensure_weights,
)

from .world import COHORTS, HOLDOUT, IDS, INCLUDED, IOS, KINDS, MUTEX, PROJECT, SEGMENTS, WEB, State, name_of

ALL_ON_TREATMENT: list[dict[str, int]] = [{"control": 0, "treatment": 2, "old": 0}, {"treatment": 1}]

# The effect of a change on the flag or experiment, in the form of `world.state`.
Effect = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, eq=False)
class Write:
    """One kind of change.

    :param requests: the requests of a change, by key and by id
    :param unchanged_requests: the requests without a change, by key and by id
    :param before: ``before`` of the result
    :param after: ``after`` of the result
    :param versions: the number of new versions
    :param kinds: the kinds of objects that have this change
    :param extra: whether it needs endpoints that the contract does not have
    :param prepare: prepares the object
    :param held: whether an organisation may hold it for approval (the emulator does not hold creations)
    """

    name: str
    run: Callable[[ManagementClient, FlagRef], ChangeResult]
    effect: Effect
    requests: tuple[int, int]
    unchanged_requests: tuple[int, int]
    before: Any
    after: Any
    versions: int = 1
    held: bool = True
    kinds: tuple[Kind, ...] = KINDS
    extra: bool = False
    prepare: Callable[[Emulator, Kind], None] | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def kind(self) -> Kind:
        """The kind for the tests, which alternates between flags and experiments, because their calls are the same."""
        return self.kinds[(len(self.name) + 1) % len(self.kinds)]

    def prepared(self, emulator: Emulator, kind: Kind) -> None:
        """Prepare the seeded emulator for this change."""
        emulator.settings(extra_endpoints=self.extra)
        if self.prepare is not None:
            self.prepare(emulator, kind)

    def wanted(self, before: State, kind: Kind) -> State:
        """Return the expected state after the change."""
        name = name_of(kind)
        thing = {
            **before[name],
            "inclusions": dict(before[name]["inclusions"]),
            "cohorts": dict(before[name]["cohorts"]),
            "rolloutWeights": dict(before[name]["rolloutWeights"]),
            "variants": [dict(variant) for variant in before[name]["variants"]],
            "targetSegments": [
                {**segment, "rolloutWeights": dict(segment["rolloutWeights"])}
                for segment in before[name]["targetSegments"]
            ],
        }
        self.effect(thing)
        thing["versions"] += self.versions
        return {**before, name: thing}


@dataclass(frozen=True, eq=False)
class Creation(Write):
    """The creation of a flag or experiment. The existing object is not changed."""

    def wanted(self, before: State, kind: Kind) -> State:
        return {**before, name_of(kind, key="new-feature"): _new(kind)}


@dataclass(frozen=True, eq=False)
class DeploymentWrite(Write):
    """A change of the project's deployments."""

    def wanted(self, before: State, kind: Kind) -> State:
        world = {"deployments": list(before["deployments"])}
        self.effect(world)
        return {**before, "deployments": sorted(world["deployments"])}


@dataclass(frozen=True, eq=False)
class GroupWrite(Write):
    """A change of the mutual exclusion groups or the holdout groups."""

    def wanted(self, before: State, kind: Kind) -> State:
        world = deepcopy(before)
        self.effect(world)
        return world


def _new(kind: Kind) -> dict[str, Any]:
    keys = ["on"] if kind == "flags" else ["control", "treatment"]
    of_experiments = {
        "startDate": None,
        "endDate": None,
        "stickyBucketing": False,
        "decision": None,
        "decisionReason": None,
        "rolledOutVariant": None,
        "state": "planning",
    }
    return {
        "name": "New feature",
        "description": "",
        "enabled": False,
        "deleted": False,
        "bucketingKey": "amplitude_id",
        "evaluationMode": "remote",
        "variants": [{"key": key} for key in keys],
        "rolloutPercentage": 0,
        "rolloutWeights": dict.fromkeys(keys, 1),
        "targetSegments": [],
        "tags": [],
        "exposureEvent": None,
        "deployments": [],
        "inclusions": {},
        "cohorts": {},
        "versions": 1,
        **(of_experiments if kind == "experiments" else {}),
    }


def _set(**fields: Any) -> Effect:
    return lambda stored: stored.update(fields)


def _beta_to_50(thing: dict[str, Any]) -> None:
    thing["targetSegments"][0]["percentage"] = 50


def _rolled_out(thing: dict[str, Any]) -> None:
    thing["rolloutWeights"] = {"control": 0, "treatment": 1, "old": 0}
    for segment, weights in zip(thing["targetSegments"], ALL_ON_TREATMENT, strict=True):
        segment.update(percentage=100, rolloutWeights=weights)
    thing.update(rolloutPercentage=100, stickyBucketing=False, rolledOutVariant="treatment")
    thing.update(decision="rollout", decisionReason="It won.", state="decision-made")


def _rolled_back(thing: dict[str, Any]) -> None:
    for segment in thing["targetSegments"]:
        segment["percentage"] = 0
    thing.update(rolloutPercentage=0, enabled=False, decision="rollback", state="decision-made")


HERS: dict[str, Any] = {
    "description": "Maria's way",
    "rolloutPercentage": 50,
    "targetSegments": [{**SEGMENTS[1], "percentage": 90}],
    "rolloutWeights": {"control": 1, "treatment": 0, "old": 5},
    "variants": [{"key": "control", "payload": "x"}, {"key": "treatment", "name": "Treatment"}, {"key": "old"}],
    "deployments": [IOS],
}
STANDING: dict[str, Any] = {
    "description": "The new way",
    "rolloutPercentage": 10,
    "targetSegments": SEGMENTS,
    "rolloutWeights": {"control": 1, "treatment": 1, "old": 0},
    "variants": [
        {"key": "control"},
        {"key": "treatment", "name": "Treatment", "payload": {"colour": "grün"}},
        {"key": "old"},
    ],
    "deployments": [WEB],
}


def _edited_by_maria(emulator: Emulator, kind: Kind) -> None:
    emulator.edit(kind, IDS[kind], by="Maria", **HERS)


def _with_parents(emulator: Emulator, kind: Kind) -> None:
    emulator.create_flag("first-parent", id=PARENTS[0])
    emulator.create_experiment("parent", id=PARENTS[1])
    emulator.edit(kind, IDS[kind], parentDependencies={"flags": {PARENTS[0]: ["on", "off"]}, "operator": "any"})


def _as_it_was(thing: dict[str, Any]) -> None:
    thing.update(deepcopy(STANDING))
    thing["variants"][0]["payload"] = {}  # an edit cannot remove it


def _new_weights(thing: dict[str, Any]) -> None:
    thing["rolloutWeights"].update(treatment=0, old=3)


def _blue(thing: dict[str, Any]) -> None:
    thing["variants"].append({"key": "blue/2", "payload": [1, None]})
    thing["rolloutWeights"]["blue/2"] = 2


def _edited_variant(thing: dict[str, Any]) -> None:
    thing["variants"][1]["payload"] = {"colour": "rot"}
    thing["rolloutWeights"]["treatment"] = 4


def _renamed(thing: dict[str, Any]) -> None:
    thing["variants"][1]["key"] = "treat ment/2"
    for weights in (thing["rolloutWeights"], *(segment["rolloutWeights"] for segment in thing["targetSegments"])):
        weights["treat ment/2"] = weights.pop("treatment")
    for included in (thing["inclusions"], thing["cohorts"]):
        included["treat ment/2"] = included.pop("treatment")


def _without_old(thing: dict[str, Any]) -> None:
    del thing["variants"][2]
    del thing["rolloutWeights"]["old"]


def _included(*users: str) -> Effect:
    return lambda stored: stored["inclusions"].update(treatment=sorted(users))


def _cohorts(*cohorts: str) -> Effect:
    return lambda stored: stored["cohorts"].update(treatment=sorted(cohorts))


def _nobody(thing: dict[str, Any]) -> None:
    del thing["inclusions"]["treatment"]


def _disabled(emulator: Emulator, kind: Kind) -> None:
    emulator.edit(kind, IDS[kind], enabled=False)


def _new_mutex(world: dict[str, Any]) -> None:
    lists: dict[str, Any] = {"experiments": [], "holdouts": [], "individuals": [], "cohorts": []}
    world[f"mutexes/{PROJECT}/search-tests"] = {
        "key": "search-tests",
        "projectId": PROJECT,
        "name": "Search tests",
        "description": None,
        "evaluationMode": "remote",
        "bucketingKey": "amplitude_id",
        "deleted": False,
        "slots": [
            {"name": f"SLOT {index}", "index": index, "variantKey": f"slot-{index}", **lists, "percentage": 50}
            for index in (1, 2)
        ],
    }


def _edited_holdout(world: dict[str, Any]) -> None:
    edited = {"description": "Neu ✓", "individualInclusion": [], "individualExclusion": ["böb/1"]}
    world[f"holdouts/{PROJECT}/no-tests"].update(edited)


def _in_slot_1(world: dict[str, Any]) -> None:
    world[f"mutexes/{PROJECT}/checkout-tests"]["slots"][0]["experiments"].append(IDS["experiments"])


def _not_in_holdout(world: dict[str, Any]) -> None:
    world[f"holdouts/{PROJECT}/no-tests"]["experiments"].remove(IDS["experiments"])


def _new_deployment(world: dict[str, Any]) -> None:
    world["deployments"].append((PROJECT, "kiosk", False))


def _edited_deployment(world: dict[str, Any]) -> None:
    world["deployments"].remove((PROJECT, "ios", False))
    world["deployments"].append((PROJECT, "iphone", True))


def _deployment(label: str, deleted: bool, id: str = IOS) -> dict[str, Any]:
    return {"id": id, "projectId": PROJECT, "label": label, "deleted": deleted}


CREATE = Creation(
    "create",
    lambda client, target: ensure_created(
        client, target.kind, {"projectId": PROJECT, "key": "new-feature", "name": "New feature"}
    ),
    lambda stored: None,
    (3, 3),
    (1, 1),
    None,
    {"enabled": False, "rolloutPercentage": 0},
    held=False,
)
FIELDS = Write(
    "edit-fields",
    lambda client, target: ensure_fields(client, target, {"description": "Zeile 1\nZeile 2 ✓", "enabled": False}),
    _set(description="Zeile 1\nZeile 2 ✓", enabled=False),
    (3, 3),
    (1, 1),
    {"description": "The new way", "enabled": True},
    {"description": "Zeile 1\nZeile 2 ✓", "enabled": False},
)
PERCENTAGE = Write(
    "percentage",
    lambda client, target: ensure_percentage(client, target, 25),
    _set(rolloutPercentage=25),
    (4, 4),
    (1, 1),
    {"rolloutPercentage": 10},
    {"rolloutPercentage": 25},
)
SEGMENT = Write(
    "segment-percentage",
    lambda client, target: ensure_percentage(client, target, 50, segment="Beta"),
    _beta_to_50,
    (4, 4),
    (1, 1),
    {"segment": "Beta", "percentage": 5},
    {"segment": "Beta", "percentage": 50},
)
WEIGHTS = Write(
    "weights",
    lambda client, target: ensure_weights(client, target, {"treatment": 0, "old": 3}, others="keep"),
    _new_weights,
    (6, 5),
    (2, 1),
    {"control": 1, "treatment": 1, "old": 0},
    {"control": 1, "treatment": 0, "old": 3},
    versions=2,
)
ROLL_OUT = Write(
    "decide-to-roll-out",
    lambda client, target: ensure_decision(client, target, "rollout", winner="treatment", reason="It won."),
    _rolled_out,
    (8, 8),
    (2, 2),
    {
        "rolloutWeights": {"control": 1, "treatment": 1, "old": 0},
        "rolloutPercentage": 10,
        "targetSegments": SEGMENTS,
        "stickyBucketing": False,
        "rolledOutVariant": None,
        "decision": None,
        "decisionReason": None,
    },
    {
        "rolloutWeights": {"control": 0, "treatment": 1, "old": 0},
        "rolloutPercentage": 100,
        "targetSegments": [
            {**segment, "percentage": 100, "rolloutWeights": weights}
            for segment, weights in zip(SEGMENTS, ALL_ON_TREATMENT, strict=True)
        ],
        "stickyBucketing": False,
        "rolledOutVariant": "treatment",
        "decision": "rollout",
        "decisionReason": "It won.",
    },
    versions=2,
    kinds=("experiments",),
)
ROLL_BACK = Write(
    "decide-to-roll-back",
    lambda client, target: ensure_decision(client, target, "rollback"),
    _rolled_back,
    (4, 4),
    (1, 1),
    {"enabled": True, "rolloutPercentage": 10, "targetSegments": SEGMENTS, "decision": None},
    {
        "enabled": False,
        "rolloutPercentage": 0,
        "targetSegments": [{**segment, "percentage": 0} for segment in SEGMENTS],
        "decision": "rollback",
    },
    kinds=("experiments",),
)
ARCHIVE = Write(
    "archive",
    ensure_archived,
    _set(deleted=True),
    (5, 5),
    (1, 1),
    {"archive": False},
    {"archive": True},
)
RESTORE_VERSION = Write(
    "restore-version",
    lambda client, target: ensure_version(client, target, 1, fields=[*STANDING], overwrite=["Maria"]),
    _as_it_was,
    (22, 22),
    (2, 2),
    HERS,
    STANDING,
    versions=7,
    prepare=_edited_by_maria,
)
PARENTS = ("700008", "700009")
DEPENDENCIES = Write(
    "dependencies",
    lambda client, target: ensure_dependencies(client, target, {"parent": ["treatment"]}),
    _set(parentDependencies={"flags": {PARENTS[1]: ["treatment"]}, "operator": "all"}),
    (6, 6),
    (3, 3),
    {"parentDependencies": {"flags": {PARENTS[0]: ["on", "off"]}, "operator": "any"}},
    {"parentDependencies": {"flags": {PARENTS[1]: ["treatment"]}, "operator": "all"}},
    prepare=_with_parents,
)
CREATE_VARIANT = Write(
    "create-variant",
    lambda client, target: ensure_variant(client, target, {"key": "blue/2", "payload": [1, None], "rolloutWeight": 2}),
    _blue,
    (4, 3),
    (2, 1),
    None,
    {"key": "blue/2", "payload": [1, None], "rolloutWeight": 2},
)
EDIT_VARIANT = Write(
    "edit-variant",
    lambda client, target: ensure_variant_fields(
        client, target, "treatment", {"payload": {"colour": "rot"}, "rolloutWeight": 4}
    ),
    _edited_variant,
    (5, 4),
    (2, 1),
    {"key": "treatment", "payload": {"colour": "grün"}, "rolloutWeight": 1},
    {"key": "treatment", "payload": {"colour": "rot"}, "rolloutWeight": 4},
)
RENAME_VARIANT = Write(
    "rename-variant",
    lambda client, target: ensure_variant_fields(client, target, "treatment", {"key": "treat ment/2"}),
    _renamed,
    (4, 3),
    (2, 1),
    {"key": "treatment"},
    {"key": "treat ment/2"},
)
REMOVE_VARIANT = Write(
    "remove-variant",
    lambda client, target: ensure_variant_absent(client, target, "old"),
    _without_old,
    (7, 6),
    (2, 1),
    {"key": "old", "name": "", "description": "", "payload": {}, "rolloutWeight": 0},
    None,
)
INCLUDE = Write(
    "include",
    lambda client, target: ensure_included(client, target, "treatment", ["fay %/?#", "anna", "günther", "fay %/?#"]),
    _included(*INCLUDED, "fay %/?#", "günther"),
    (4, 3),
    (2, 1),
    {"count": 5},
    {"count": 7, "added": 2, "removed": 0},
    versions=0,
)
EXCLUDE = Write(
    "exclude",
    lambda client, target: ensure_not_included(client, target, "treatment", ["anna", "d e?", "nobody"]),
    _included("böb/1", "emil"),
    (9, 8),
    (2, 1),
    {"count": 5},
    {"count": 2, "added": 0, "removed": 3},
    versions=0,
)
EXACTLY = Write(
    "exactly",
    lambda client, target: ensure_exactly_included(client, target, "treatment", ["emil", "fay", "anna", "emil"]),
    _included("anna", "anna", "emil", "fay"),
    (9, 8),
    (2, 1),
    {"count": 5},
    {"count": 4, "added": 1, "removed": 2},
    versions=0,
)
EXCLUDE_BY_VALUE = Write(
    "exclude-by-value",
    lambda client, target: ensure_not_included(client, target, "treatment", ["anna", "d e?", "nobody"]),
    _included("böb/1", "emil"),
    (4, 3),
    (2, 1),
    {"count": 5},
    {"count": 2, "added": 0, "removed": 3},
    versions=0,
    extra=True,
)
INCLUDE_COHORTS = Write(
    "include-cohorts",
    lambda client, target: ensure_cohorts_included(client, target, "treatment", ["c %/?#", "c-beta", "c-2", "c-2"]),
    _cohorts(*COHORTS, "c %/?#", "c-2"),
    (4, 3),
    (2, 1),
    COHORTS,
    [*COHORTS, "c %/?#", "c-2"],
    versions=0,
    extra=True,
)
EXCLUDE_COHORTS = Write(
    "exclude-cohorts",
    lambda client, target: ensure_cohorts_not_included(client, target, "treatment", ["c/staff 1", "c-other"]),
    _cohorts("c-beta"),
    (4, 3),
    (2, 1),
    COHORTS,
    ["c-beta"],
    versions=0,
    extra=True,
)
EXACTLY_COHORTS = Write(
    "exactly-cohorts",
    lambda client, target: ensure_exactly_cohorts(client, target, "treatment", ["c-new", "c-beta"]),
    _cohorts("c-beta", "c-new"),
    (6, 5),
    (2, 1),
    COHORTS,
    ["c-beta", "c-new"],
    versions=0,
    extra=True,
)
CLEAR = Write(
    "clear",
    lambda client, target: ensure_no_inclusions(client, target, "treatment"),
    _nobody,
    (4, 3),
    (2, 1),
    {"count": 5},
    {"count": 0, "added": 0, "removed": 5},
    versions=0,
)
ASSIGN = Write(
    "assign",
    lambda client, target: ensure_assigned(client, target, [IOS, WEB]),
    _set(deployments=[WEB, IOS]),
    (4, 3),
    (2, 1),
    [WEB],
    [WEB, IOS],
)
UNASSIGN = Write(
    "unassign",
    lambda client, target: ensure_not_assigned(client, target, WEB),
    _set(deployments=[]),
    (4, 3),
    (2, 1),
    [WEB],
    [],
)
CREATE_DEPLOYMENT = DeploymentWrite(
    "create-deployment",
    lambda client, target: ensure_deployment(client, {"projectId": PROJECT, "label": "kiosk", "type": "client"}),
    _new_deployment,
    (3, 3),
    (1, 1),
    None,
    _deployment("kiosk", False, "700005"),
    held=False,
)
EDIT_DEPLOYMENT = DeploymentWrite(
    "edit-deployment",
    lambda client, target: ensure_deployment_fields(client, IOS, {"label": "iphone", "archive": True}),
    _edited_deployment,
    (3, 3),
    (1, 1),
    _deployment("ios", False),
    _deployment("iphone", True),
    held=False,
)
SLOTS: Any = [{"percentage": 50}, {"percentage": 50}]
CREATE_GROUP = GroupWrite(
    "create-group",
    lambda client, target: ensure_group(
        client, "mutexes", {"projectId": PROJECT, "key": "search-tests", "name": "Search tests", "slots": SLOTS}
    ),
    _new_mutex,
    (3, 3),
    (1, 1),
    None,
    {"name": "Search tests", "slots": [50, 50]},
    held=False,
    kinds=("experiments",),
    extra=True,
)
EDIT_GROUP = GroupWrite(
    "edit-group",
    lambda client, target: ensure_group_fields(
        client,
        GroupRef("holdouts", key="no-tests", project_id=PROJECT) if target.key else GroupRef("holdouts", id=HOLDOUT),
        {"description": "Neu ✓", "individualInclusion": [], "individualExclusion": ["böb/1"]},
    ),
    _edited_holdout,
    (3, 3),
    (1, 1),
    {"description": "Checkout", "individualInclusion": ["olga"], "individualExclusion": []},
    {"description": "Neu ✓", "individualInclusion": [], "individualExclusion": ["böb/1"]},
    held=False,
    kinds=("experiments",),
    extra=True,
)
JOIN_SLOT = GroupWrite(
    "join-slot",
    lambda client, target: ensure_in_group(client, target, GroupRef("mutexes", id=MUTEX), slot=1),
    _in_slot_1,
    (4, 4),
    (2, 2),
    [],
    [1],
    held=False,
    kinds=("experiments",),
    extra=True,
    prepare=_disabled,
)
LEAVE_HOLDOUT = GroupWrite(
    "leave-holdout",
    lambda client, target: ensure_not_in_group(client, target, GroupRef("holdouts", key="no-tests")),
    _not_in_holdout,
    (4, 4),
    (2, 2),
    True,
    False,
    held=False,
    kinds=("experiments",),
    extra=True,
    prepare=_disabled,
)

WRITES = (
    CREATE,
    FIELDS,
    PERCENTAGE,
    SEGMENT,
    WEIGHTS,
    ROLL_OUT,
    ROLL_BACK,
    RESTORE_VERSION,
    ARCHIVE,
    DEPENDENCIES,
    CREATE_VARIANT,
    EDIT_VARIANT,
    RENAME_VARIANT,
    REMOVE_VARIANT,
    INCLUDE,
    EXCLUDE,
    EXACTLY,
    EXCLUDE_BY_VALUE,
    INCLUDE_COHORTS,
    EXCLUDE_COHORTS,
    EXACTLY_COHORTS,
    CLEAR,
    ASSIGN,
    UNASSIGN,
    CREATE_DEPLOYMENT,
    EDIT_DEPLOYMENT,
    CREATE_GROUP,
    EDIT_GROUP,
    JOIN_SLOT,
    LEAVE_HOLDOUT,
)
_ELSEWHERE = (CREATE, CREATE_DEPLOYMENT, EDIT_DEPLOYMENT, CREATE_GROUP, EDIT_GROUP)
ON_A_FLAG = tuple(write for write in WRITES if write not in _ELSEWHERE)
ON_INCLUSIONS = (INCLUDE, EXCLUDE, EXACTLY, EXCLUDE_BY_VALUE, CLEAR)


def each_of(*writes: Write) -> pytest.MarkDecorator:
    """Parametrize a test with each change of each kind of object."""
    pairs = [pytest.param(write, kind, id=f"{write}-{kind}") for write in writes for kind in write.kinds]
    return pytest.mark.parametrize(("write", "kind"), pairs)
