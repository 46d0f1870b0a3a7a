"""Flags and experiments: their content, their initial state and their edits."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_ampexp.emulator._state.errors import bad_request
from airflow_provider_ampexp.emulator._state.experiments import EXPERIMENT_FIELDS, follow_edit
from airflow_provider_ampexp.emulator._state.settings import Settings

Kind = Literal["flags", "experiments"]
KINDS: tuple[Kind, ...] = ("flags", "experiments")

_FIRST_VARIANTS: dict[str, list[str]] = {"flags": ["on"], "experiments": ["control", "treatment"]}


@dataclass
class Content:
    """The parts of an object that a write can change. A write works on a copy, so an error changes nothing."""

    config: dict[str, Any]
    exposure_event: Any = None
    inclusions: dict[str, list[str]] = field(default_factory=dict)
    cohorts: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class ManagedObject:
    """A flag or an experiment, with its history (newest version last)."""

    kind: Kind
    content: Content
    created_by: str
    created_at: str
    last_modified_by: str
    last_modified_at: str
    versions: list[dict[str, Any]] = field(default_factory=list)
    assigned: dict[str, str] = field(default_factory=dict)
    """The last variant of each user who asked through a deployment, by Amplitude id."""
    read_only_type: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of a read, without times and actors."""
        return self.content.config

    @property
    def id(self) -> str:
        """The object's id."""
        return str(self.config["id"])

    @property
    def project_id(self) -> str:
        """The id of the object's project."""
        return str(self.config["projectId"])

    def view(self) -> dict[str, Any]:
        """Return the body of a read (contract: Get details)."""
        return {
            **self.config,
            "createdBy": self.created_by,
            "createdAt": self.created_at,
            "lastModifiedBy": self.last_modified_by,
            "lastModifiedAt": self.last_modified_at,
        }


def shown(config: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the configuration of a read, without cohorts with ``hide_cohorts``, and the winner by its name if set."""
    if settings.winner_by_name and config.get("rolledOutVariant") is not None:
        names = {variant["key"]: variant.get("name") for variant in config.get("variants", [])}
        winner = config["rolledOutVariant"]
        config = {**config, "rolledOutVariant": names.get(winner) or winner}
    if not settings.hide_cohorts:
        return config
    segments = [
        {**segment, "conditions": [item for item in segment.get("conditions", []) if item.get("type") != "cohort"]}
        for segment in config.get("targetSegments", [])
    ]
    return {**config, "targetSegments": segments}


def first_config(kind: Kind, object_id: str, salt: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a new object (contract: Create), with defaults from the contract's examples."""
    config: dict[str, Any] = {
        "id": object_id,
        "projectId": "",
        "deployments": [],
        "key": "",
        "name": fields.get("key", ""),
        "description": "",
        "enabled": False,
        "evaluationMode": "remote",
        "bucketingKey": "amplitude_id",
        "bucketingSalt": salt,
        "bucketingUnit": "User",
        "variants": [{"key": key} for key in _FIRST_VARIANTS[kind]],
        "rolloutPercentage": 0,
        "rolloutWeights": {},
        "targetSegments": [],
        "tags": [],
        "deleted": False,
    }
    if kind == "experiments":
        config.update(EXPERIMENT_FIELDS)
    config.update(deepcopy(fields))
    config["id"] = object_id
    if "rolloutWeights" not in fields:
        config["rolloutWeights"] = {variant["key"]: 1 for variant in config["variants"]}
    config["targetSegments"] = [
        {
            "name": f"Segment {number}",
            "conditions": [],
            "percentage": 0,
            "bucketingKey": config["bucketingKey"],
            "rolloutWeights": dict(config["rolloutWeights"]),
            **segment,
        }
        for number, segment in enumerate(config["targetSegments"], 1)
    ]
    return config


def check_config(config: dict[str, Any]) -> None:
    """Raise for duplicate variants, and for weights of missing variants."""
    keys = [variant["key"] for variant in config["variants"]]
    for key in keys:
        if keys.count(key) > 1:
            raise bad_request(f"variants: the key {key!r} is there more than once.")
    check_weights("rolloutWeights", config["rolloutWeights"], keys)
    check_segments(config)


def check_segments(config: dict[str, Any]) -> None:
    """Raise for segments with weights of missing variants."""
    keys = [variant["key"] for variant in config["variants"]]
    for number, segment in enumerate(config["targetSegments"]):
        check_weights(f"targetSegments.{number}.rolloutWeights", segment.get("rolloutWeights", {}), keys)


def check_weights(place: str, weights: dict[str, Any], keys: list[str]) -> None:
    """Raise for weights of missing variants."""
    for key in weights:
        if key not in keys:
            raise bad_request(f"{place}: there is no variant {key!r}.")


def edit(kind: Kind, content: Content, fields: dict[str, Any], today: str) -> None:
    """Apply an edit with validated fields (contract: Edit)."""
    config = content.config
    changes = deepcopy(fields)
    if "archive" in changes:
        config["deleted"] = changes.pop("archive")
    if "exposureEvent" in changes:
        # The contract's reads do not show this field, so it is stored separately.
        content.exposure_event = changes.pop("exposureEvent")
    segments = changes.pop("targetSegments", None)
    if segments is not None:
        config["targetSegments"] = [{"bucketingKey": config["bucketingKey"], **segment} for segment in segments]
        check_segments(config)
    before = dict(config)
    config.update(changes)
    if kind == "experiments":
        follow_edit(before, config, changes, today)
