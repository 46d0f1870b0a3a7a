"""The fields of the API, in its own spelling.

Responses keep all fields, also unknown ones. These types have the fields of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

__all__ = [
    "Condition",
    "CreateFields",
    "Created",
    "Deployment",
    "DeploymentCreateFields",
    "DeploymentEditFields",
    "EditFields",
    "FlagConfig",
    "Json",
    "ParentDependencies",
    "TargetSegment",
    "VariantFields",
    "Version",
]

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


class Condition(TypedDict):
    """Contract: *conditions*."""

    type: str
    prop: str
    op: str
    values: Sequence[str]


class TargetSegment(TypedDict, total=False):
    """Contract: *targetSegments*. ``percentage`` is the segment's own rollout percentage, 0 to 100."""

    name: str
    conditions: Sequence[Condition]
    percentage: float
    bucketingKey: str
    rolloutWeights: Mapping[str, int]


class ParentDependencies(TypedDict, total=False):
    """The variants of other flags and experiments that users need, by id. ``operator`` is ``all`` or ``any`` of them.

    Not in the contract. Mutual exclusion groups and holdout groups can be among them.
    """

    flags: Mapping[str, Sequence[str]]
    operator: str


class VariantFields(TypedDict, total=False):
    """Contract: *Create variant*, *Edit variant*. ``payload`` is any JSON element."""

    key: str
    name: str
    description: str
    payload: Json
    rolloutWeight: int


class EditFields(TypedDict, total=False):
    """Contract: *Edit*. The contract does not have the last five fields."""

    name: str
    description: str
    bucketingKey: str
    bucketingSalt: str
    bucketingUnit: str
    evaluationMode: str
    rolloutPercentage: float
    enabled: bool
    archive: bool
    experimentType: str
    stickyBucketing: bool
    startDate: str
    endDate: str | None
    exposureEvent: Mapping[str, Json] | None
    targetSegments: Sequence[TargetSegment]
    tags: Sequence[str]
    decision: str
    decisionReason: str
    rolledOutVariant: str | None
    parentDependencies: ParentDependencies | None


class CreateFields(TypedDict, total=False):
    """Contract: *Create*. ``projectId`` and ``key`` are required."""

    projectId: str
    key: str
    name: str
    description: str
    variants: Sequence[VariantFields]
    bucketingKey: str
    rolloutWeights: Mapping[str, int]
    targetSegments: Sequence[TargetSegment]
    deployments: Sequence[str]
    evaluationMode: str
    experimentType: str


class Created(TypedDict):
    """The response to a create."""

    id: str
    url: str


class FlagConfig(TypedDict, total=False):
    """A flag or an experiment in a response. Fields except ``id`` may be missing, and there may be others."""

    id: str
    projectId: str
    key: str
    name: str
    description: str
    enabled: bool
    deleted: bool
    evaluationMode: str
    bucketingKey: str
    bucketingSalt: str
    bucketingUnit: str
    variants: list[VariantFields]
    rolloutPercentage: float
    rolloutWeights: dict[str, int]
    targetSegments: list[TargetSegment]
    deployments: list[str]
    tags: list[str]
    parentDependencies: ParentDependencies | None
    createdBy: Any
    createdAt: str
    lastModifiedBy: Any
    lastModifiedAt: str
    # experiments only
    state: str
    decision: str | None
    decisionReason: str | None
    rolledOutVariant: str | None
    stickyBucketing: bool
    startDate: str | None
    endDate: str | None
    experimentType: str


class SlotFields(TypedDict, total=False):
    """The lists of a slot of a mutual exclusion group. Not in the contract."""

    experiments: Sequence[str]
    holdouts: Sequence[str]
    individuals: Sequence[str]


class Slot(SlotFields, total=False):
    """A slot of a mutual exclusion group, with its share of the users. A write has no index, name and variant key."""

    percentage: int
    index: int
    name: str
    variantKey: str


class GroupEditFields(TypedDict, total=False):
    """Fields of a group that can be edited. The last three are those of a holdout group."""

    name: str
    description: str
    archive: bool
    experiments: Sequence[str]
    individualInclusion: Sequence[str]
    individualExclusion: Sequence[str]


class GroupCreateFields(TypedDict, total=False):
    """Fields of a new group. ``slots`` is for mutual exclusion groups, the last four are for holdout groups."""

    projectId: str
    name: str
    key: str
    description: str
    evaluationMode: str
    bucketingKey: str
    slots: Sequence[Slot]
    holdoutPercentage: int
    experiments: Sequence[str]
    individualInclusion: Sequence[str]
    individualExclusion: Sequence[str]


class Group(GroupCreateFields, total=False):
    """A mutual exclusion group or a holdout group in a response. Other fields are kept."""

    id: str
    bucketingSalt: str
    deleted: bool


class Version(TypedDict, total=False):
    """An entry of the version history: the actor, the time, and the whole configuration."""

    version: int
    createdAt: str
    createdBy: Any
    flagConfig: FlagConfig


class Deployment(TypedDict, total=False):
    """A deployment in a response."""

    id: str
    projectId: str
    label: str
    key: str
    type: str
    deleted: bool


class DeploymentCreateFields(TypedDict):
    """Contract: *Create deployment*. ``type`` is ``client`` or ``server``."""

    projectId: str
    label: str
    type: str


class DeploymentEditFields(TypedDict, total=False):
    """Contract: *Edit deployment*."""

    label: str
    archive: bool
