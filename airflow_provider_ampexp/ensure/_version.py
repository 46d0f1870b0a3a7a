"""Restore the configuration of an earlier version of a flag or experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client._optional_fields import config_of, version_number
from airflow_provider_ampexp.client.types import EditFields, FlagConfig, Json, VariantFields, Version
from airflow_provider_ampexp.ensure._confirmation import mention_sent_change
from airflow_provider_ampexp.ensure._deployments import ensure_assigned, ensure_not_assigned
from airflow_provider_ampexp.ensure._errors import MissingFieldError, WrongStateError
from airflow_provider_ampexp.ensure._fields import same_field
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, KnownFlag, ResolvedFlag, flag_url
from airflow_provider_ampexp.ensure._lost_updates import write_and_keep_edits
from airflow_provider_ampexp.ensure._result import ChangeResult
from airflow_provider_ampexp.ensure._segments import refuse_cohorts
from airflow_provider_ampexp.ensure._sticky import lowers_a_percentage
from airflow_provider_ampexp.ensure._variants import ensure_variant, ensure_variant_fields
from airflow_provider_ampexp.ensure._weights import Weights, set_weights_of_all_other_users
from airflow_provider_ampexp.history._field_changes import Row, field_of, flattened, rows_of

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

Overwrite = bool | Sequence[str]

_DECIDE_EXPOSURE = ("enabled", "rolloutPercentage", "rolloutWeights", "targetSegments", "variants")
# It is unknown whether the service accepts parentDependencies. A refusal must not stop the rest of a restoration.
_EDITED = [name for name in EditFields.__annotations__ if name not in ("archive", "parentDependencies")]
RESTORED_FIELDS = (*_EDITED, "deleted", "rolloutWeights", "variants", "deployments")
"""The fields that can be restored. Inclusions and cohorts are in no version."""

_WITHOUT_DETAILS: VariantFields = {"name": "", "description": "", "payload": {}}
_NULLABLE = ("endDate",)
_LISTED_EDITS = 10


@dataclass(frozen=True)
class Restoration:
    """The changes that restore a version, and the later edits that they undo.

    :param config: the present configuration
    :param then: the configuration of the version
    :param differing: the fields to restore that differ
    :param edits: the later edits of these fields, oldest first
    :param of_unknown_actors: the fields whose later edits the history does not show
    """

    target: FlagRef
    version: int
    config: FlagConfig
    then: FlagConfig
    considered: tuple[str, ...]
    differing: tuple[str, ...]
    edits: tuple[Row, ...]
    of_unknown_actors: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def changes(self) -> list[str]:
        """Describe each change in words, by the path of the field."""
        now, then = (_paths(config, self.differing) for config in (self.config, self.then))
        return [f"{path}: {now.get(path)!r} -> {then.get(path)!r}" for path in _changed_paths(now, then)]

    def sets(self, path: str, value: object) -> bool:
        """Return true if the version has this value at this path."""
        return _paths(self.then, self.considered).get(path) == value

    def refuse_edits_of_others(self, overwrite: Overwrite) -> None:
        """Raise if it would undo an edit that ``overwrite`` does not allow.

        :raises WrongStateError: names the actors, and what they changed
        """
        if overwrite is True:
            return
        allowed = [] if overwrite is False else list(overwrite)
        refused = [edit for edit in self.edits if edit["by"] not in allowed]
        if not refused and not self.of_unknown_actors:
            return
        listed = [
            f"{edit['by']} changed {edit['field']} from {edit['from']!r} to {edit['to']!r} (version {edit['version']})"
            for edit in refused[-_LISTED_EDITS:]
        ]
        if len(refused) > _LISTED_EDITS:
            listed.insert(0, f"{len(refused) - _LISTED_EDITS} earlier edits")
        if self.of_unknown_actors:
            listed.append(f"the history does not show who changed {', '.join(self.of_unknown_actors)}")
        actors = list(dict.fromkeys([*allowed, *(edit["by"] for edit in refused)]))
        told = "overwrite=True" if self.of_unknown_actors else f"overwrite={actors} or overwrite=True"
        raise WrongStateError(
            f"Restoring version {self.version} of {self.target} failed: it would undo later edits: "
            f"{'; '.join(listed)}. Nothing was changed. To undo them, set {told}."
        )


def ensure_version(
    client: ManagementClient,
    target: FlagRef,
    version: int,
    *,
    fields: Iterable[str] | None = None,
    overwrite: Overwrite = False,
    catch_all: str | None = None,
    shown: Callable[[Restoration], None] = lambda plan: None,
) -> ChangeResult:
    """Restore the configuration of a version, with its variants, weights and deployments. It makes new versions.

    2 requests without a change. A variant that was added after the version stays, without a weight. Inclusions and
    cohorts are in no version, so they stay.

    :param fields: restore only these of ``RESTORED_FIELDS``
    :param overwrite: the actors whose later edits may be undone, by their names in the history; true for all
    :param catch_all: the name of a segment without conditions on purpose. Any other segment of the version that shows
        no conditions may be for a cohort, and is not written.
    :param shown: called with the changes and the later edits before the first write
    :raises WrongStateError: when the version does not exist, when others edited these fields later, or when a segment
        may be for a cohort
    :raises MissingFieldError: when the version does not show a field
    """
    config = target.read(client)
    history = target.endpoints(client).versions(config["id"])
    plan = _planned(target, config, history, version, fields)
    if not plan.differing:
        same = _values(plan.then, plan.considered)
        return ChangeResult(config["id"], config.get("key"), False, same, same, flag_url(client, config), plan.notes)
    shown(plan)
    plan.refuse_edits_of_others(overwrite)
    if "targetSegments" in plan.differing:
        refuse_cohorts(config.get("key"), plan.then.get("targetSegments") or (), catch_all=catch_all)
    notes = _Writes(client, KnownFlag(target.kind, id=config["id"], words=str(target)), plan).carry_out()
    before, after = (_values(configuration, plan.considered) for configuration in (config, plan.then))
    notes = (*plan.notes, *notes)
    return ChangeResult(config["id"], config.get("key"), True, before, after, flag_url(client, config), notes)


def _planned(
    target: FlagRef, config: FlagConfig, history: Sequence[Version], version: int, fields: Iterable[str] | None
) -> Restoration:
    found = next((entry for entry in history if version_number(entry) == version), None)
    if found is None:
        newest = max(map(version_number, history), default=0)
        raise WrongStateError(
            f"{target} has no version {version}; its newest is {newest}. Nothing was changed. Name a version of its "
            "history."
        )
    then = config_of(found)
    named = None if fields is None else tuple(validate.choice("fields", name, RESTORED_FIELDS) for name in fields)
    required = named or _DECIDE_EXPOSURE
    if missing := [name for name in required if name not in then]:
        raise MissingFieldError(
            f"Restoring version {version} of {target} failed: the version does not show {', '.join(missing)}. Nothing "
            "was changed. Restore it in Amplitude, or name the other fields with `fields`."
        )
    if missing := [name for name in required if name in _DECIDE_EXPOSURE and name not in config]:
        raise MissingFieldError(
            f"Restoring version {version} of {target} failed: Amplitude does not show the present "
            f"{', '.join(missing)}. Nothing was changed. Restore it in Amplitude, or name the other fields with "
            "`fields`."
        )
    considered = [name for name in named or RESTORED_FIELDS if name in then and name in config]
    differing = [name for name in considered if not _same(name, config, then)]
    cannot = [name for name in differing if _values(then, [name])[name] is None and name not in _NULLABLE]
    considered, differing = ([name for name in names if name not in cannot] for names in (considered, differing))
    changed = set(_changed_paths(*(_paths(configuration, differing) for configuration in (config, then))))
    later = [row for row in rows_of(target.kind, config["id"], history) if row["version"] > version]
    made = [row for row in later if row["field"] in changed]
    edits = tuple(row for row in made if not _is_toward(row, then))
    known = {field_of(row["field"]) for row in made}
    notes = [f"{name} was not restored: the API does not accept null." for name in cannot]
    if "variants" in considered:
        added = [variant for variant in _variants(config) if variant not in _variants(then)]
        notes += [f"Variant {key!r} was added after version {version} and stays, without a weight." for key in added]
    unknown = tuple(name for name in differing if name not in known)
    return Restoration(target, version, config, then, tuple(considered), tuple(differing), edits, unknown, tuple(notes))


class _Writes:
    """The writes of a restoration. Exposure is lowered before the weights change, and raised after it."""

    def __init__(self, client: ManagementClient, target: FlagRef, plan: Restoration) -> None:
        self._client = client
        self._target = target
        self._plan = plan
        self._done: list[str] = []
        self._notes: list[str] = []

    def carry_out(self) -> tuple[str, ...]:
        plan = self._plan
        edit = self._edited_fields()
        steps = [self._create_variants, self._weigh, self._edit_variants]
        steps.insert(1 if _lowers(plan.config, plan.then) else len(steps), lambda: self._edit(edit))
        for step in [*steps, self._assign]:
            done = ", ".join(self._done)
            with mention_sent_change(f"{done} of {plan.target} were changed", when=lambda done=done: bool(done)):  # type: ignore[misc]
                step()
        return tuple(self._notes)

    def _note(self, what: str, outcome: ChangeResult) -> None:
        if outcome.changed:
            self._done.append(what)
        self._notes += outcome.notes

    def _edited_fields(self) -> EditFields:
        plan = self._plan
        named = [name for name in plan.differing if name in EditFields.__annotations__]
        edit = _values(plan.then, named)
        if "deleted" in plan.differing:
            edit["archive"] = bool(plan.then.get("deleted"))
        return cast("EditFields", edit)

    def _edit(self, fields: EditFields) -> None:
        if fields:
            outcome = write_and_keep_edits(self._client, self._target, self._plan.config, fields)
            self._note(", ".join(fields), outcome)

    def _create_variants(self) -> None:
        there = _variants(self._plan.config)
        for key, variant in self._missing_variants(there).items():
            self._note(f"variant {key!r}", ensure_variant(self._client, self._target, {**variant, "rolloutWeight": 0}))

    def _missing_variants(self, there: Mapping[str, VariantFields]) -> dict[str, VariantFields]:
        if "variants" not in self._plan.differing:
            return {}
        return {key: variant for key, variant in _variants(self._plan.then).items() if key not in there}

    def _weigh(self) -> None:
        if "rolloutWeights" not in self._plan.differing:
            return
        weights = self._plan.then["rolloutWeights"]

        def wanted(now: Weights) -> Weights:
            return {key: weights.get(key, 0) for key in now}

        identity = ResolvedFlag.of(self._plan.config)
        self._note("weights", set_weights_of_all_other_users(self._client, self._target, identity, wanted))

    def _edit_variants(self) -> None:
        if "variants" not in self._plan.differing:
            return
        now = _variants(self._plan.config)
        for key, variant in _variants(self._plan.then).items():
            if key in now and now[key] != variant:
                details = cast("VariantFields", {name: variant.get(name) for name in _WITHOUT_DETAILS})
                outcome = ensure_variant_fields(self._client, self._target, key, details)
                self._note(f"variant {key!r}", outcome)

    def _assign(self) -> None:
        if "deployments" not in self._plan.differing:
            return
        now, then = (configuration.get("deployments") or [] for configuration in (self._plan.config, self._plan.then))
        for deployment in now:
            if deployment not in then:
                self._note("deployments", ensure_not_assigned(self._client, self._target, deployment))
        if missing := [deployment for deployment in then if deployment not in now]:
            self._note("deployments", ensure_assigned(self._client, self._target, missing))


def _same(name: str, now: FlagConfig, then: FlagConfig) -> bool:
    if name == "variants":
        known, wanted = _variants(now), _variants(then)
        return all(known.get(key) == variant for key, variant in wanted.items())
    one, other = (_values(config, [name])[name] for config in (now, then))
    if name == "deployments":
        return set(cast("list[str]", one or ())) == set(cast("list[str]", other or ()))
    if name == "rolloutWeights":
        one, other = (_positive(cast("Mapping[str, float]", weights or {})) for weights in (one, other))
    return same_field(name, one, other)


def _positive(weights: Mapping[str, float]) -> dict[str, Any]:
    return {key: weight for key, weight in weights.items() if weight}


def _variants(config: FlagConfig) -> dict[str, VariantFields]:
    """Return the variants by key, with their details, without their weights."""
    found = {}
    for variant in config.get("variants") or ():
        details = {name: variant.get(name, value) for name, value in _WITHOUT_DETAILS.items()}
        found[variant["key"]] = cast("VariantFields", {"key": variant["key"], **details})
    return found


def _values(config: FlagConfig, names: Iterable[str]) -> dict[str, Json]:
    return {name: cast("dict[str, Json]", config).get(name) for name in names}


def _paths(config: FlagConfig, names: Iterable[str]) -> dict[str, Json]:
    return flattened(_values(config, names))


def _changed_paths(now: Mapping[str, Json], then: Mapping[str, Json]) -> list[str]:
    """Return the paths with another value. A variant that was added later has no path, because it stays."""
    added = [path.partition("].")[0] for path in now if path.startswith("variants[") and path.endswith("].key")]
    stays = tuple(f"{place}]." for place in added if f"{place}].key" not in then)
    return sorted(
        path
        for path in {**now, **then}
        if (now.get(path) or None) != (then.get(path) or None) and not path.startswith(stays)
    )


def _is_toward(edit: Row, then: FlagConfig) -> bool:
    """Return true if an edit of a set, such as a part of an earlier restoration, removed nothing of the version."""
    if edit["field"] not in ("deployments", "tags"):
        return False
    was, is_now, wanted = (
        {str(value) for value in cast("Iterable[object]", values or ())}
        for values in (edit["from"], edit["to"], cast("dict[str, Json]", then)[edit["field"]])
    )
    return is_now - was <= wanted and not (was - is_now) & wanted


def _lowers(now: FlagConfig, then: FlagConfig) -> bool:
    """Return true if the version gives the object to fewer users somewhere.

    Nobody gets a disabled or archived object. A version that enables it raises, also with a lower percentage.
    """
    if now.get("enabled") is False or now.get("deleted"):
        return False
    return (
        lowers_a_percentage(now, then)
        or (now.get("enabled") is True and then.get("enabled") is False)
        or bool(then.get("deleted"))
    )
