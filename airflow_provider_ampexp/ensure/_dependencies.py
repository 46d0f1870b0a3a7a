"""The dependencies of a flag or experiment (``parentDependencies``), and the objects that depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client.types import EditFields, FlagConfig
from airflow_provider_ampexp.ensure._errors import WrongStateError, no_such_variant
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._lost_updates import write_and_keep_edits
from airflow_provider_ampexp.ensure._parents import operator_of, parents_of
from airflow_provider_ampexp.ensure._result import ChangeResult

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

DependencyOperator = Literal["all", "any"]
OFF = "off"
"""A dependency on this variant is met by the users to whom the parent gives no variant."""


def ensure_dependencies(
    client: ManagementClient,
    target: FlagRef,
    depends_on: Mapping[str, Iterable[str]],
    *,
    operator: DependencyOperator = "all",
) -> ChangeResult:
    """Set the dependencies of a flag or experiment, and remove its other dependencies on flags and experiments.

    1 request if it has and gets no dependency. Otherwise 3 without a change and 5 with a change: the flags and the
    experiments of the project are listed, 1 request for each 1,000. It takes 1 more if it replaces dependencies.

    :param depends_on: the variants that meet the dependency, by the key or id of a flag or experiment of the project.
        ``"off"`` stands for the users without a variant. An empty mapping removes the dependencies.
    :param operator: a user needs ``all`` of the dependencies, or ``any``
    :raises WrongStateError: when a flag, experiment or variant does not exist, when a parent is archived or has another
        evaluation mode, or when the dependencies would form a circle
    """
    validate.choice("operator", operator, get_args(DependencyOperator))
    named = {validate.name("depends_on", name): _variants(name, given) for name, given in depends_on.items()}
    config = target.read(client)
    flags: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    if named or parents_of(config):
        project = _Project.read(client, target, config)
        groups = project.groups(operator)
        flags = {**groups, **project.resolved(named)}
        project.refuse_circle(flags)
    if not flags:
        config = {"parentDependencies": None, **config}  # an object that does not show the field has no dependency
    wanted: EditFields = {"parentDependencies": {"flags": flags, "operator": operator}}
    outcome = write_and_keep_edits(client, target, config, wanted)
    kept = [f"The dependency on {id} stays: it is no flag or experiment of the project." for id in groups]
    return replace(outcome, notes=(*outcome.notes, *kept))


def dependents(client: ManagementClient, config: FlagConfig) -> list[str]:
    """Describe the flags and experiments in use that depend on an object: 1 request for each 1,000 of each."""
    return [
        described(dependent, kind)
        for dependent, kind in _listed(client, config)
        if config["id"] in parents_of(dependent)
    ]


def described(config: Mapping[str, Any], kind: str) -> str:
    """Return the kind and the key, for a sentence."""
    return f"{'flag' if kind == 'flags' else 'experiment'} {config.get('key')!r}"


def _listed(
    client: ManagementClient, config: FlagConfig, *, include_archived: bool = False
) -> Iterator[tuple[FlagConfig, str]]:
    project = config.get("projectId")
    return chain.from_iterable(
        ((item, endpoints.kind) for item in endpoints.list(project_id=project, include_archived=include_archived))
        for endpoints in (client.flags, client.experiments)
    )


@dataclass(frozen=True)
class _Project:
    """The flags and experiments of a project, with their kinds, by id."""

    client: ManagementClient
    target: FlagRef
    config: FlagConfig
    objects: Mapping[str, tuple[FlagConfig, str]]

    @classmethod
    def read(cls, client: ManagementClient, target: FlagRef, config: FlagConfig) -> _Project:
        objects = {item["id"]: (item, kind) for item, kind in _listed(client, config, include_archived=True)}
        return cls(client, target, config, {**objects, config["id"]: (config, target.kind)})

    def resolved(self, named: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Check that each variant exists, and return the variants by id."""
        found: dict[str, list[str]] = {}
        for name, variants in named.items():
            parent, kind = self._find(name)
            self._refuse_unmet(parent, kind)
            known = self._variants_of(parent, kind)
            for variant in variants:
                if variant not in (*known, OFF):
                    raise no_such_variant(described(parent, kind).capitalize(), variant, [*known, OFF])
            found.setdefault(parent["id"], []).extend(variants)
        return {id: list(dict.fromkeys(variants)) for id, variants in found.items()}

    def groups(self, operator: DependencyOperator) -> dict[str, list[str]]:
        """Return the present dependencies on anything else, such as a mutual exclusion or a holdout group."""
        kept = {id: list(variants) for id, variants in parents_of(self.config).items() if id not in self.objects}
        if kept and operator != operator_of(self.config.get("parentDependencies")):
            raise self._refused(
                f"it also depends on {', '.join(kept)}, which is no flag or experiment of the project. That dependency "
                "stays, so the operator must stay",
                "Use the present operator.",
            )
        return kept

    def refuse_circle(self, wanted: Mapping[str, Iterable[str]]) -> None:
        """Raise if the object would depend on itself.

        :raises WrongStateError: names each flag and experiment of the circle
        """
        for parent in wanted:
            if way := self._way_back(parent):
                circle = " -> ".join(described(*self.objects[id]) for id in (self.config["id"], *way))
                raise self._refused(f"it would depend on itself: {circle}", "Remove one of these dependencies.")

    def _way_back(self, start: str) -> list[str]:
        """Return the ids from a parent to the object, by their dependencies; empty if there is no way."""
        ways = {start: [start]}
        to_visit = [start]
        while to_visit and self.config["id"] not in ways:
            id = to_visit.pop(0)
            for parent in parents_of(self.objects[id][0]) if id in self.objects else ():
                if parent not in ways:
                    ways[parent] = [*ways[id], parent]
                    to_visit.append(parent)
        return ways.get(self.config["id"], [])

    def _find(self, name: str) -> tuple[FlagConfig, str]:
        by_key = [found for found in self.objects.values() if found[0].get("key") == name]
        if found := by_key[0] if by_key else self.objects.get(name):
            return found
        keys = [str(item.get("key")) for item, _ in self.objects.values() if not item.get("deleted")]
        meant = validate.nearest(name, keys).rstrip(".")
        raise self._refused(f"the project has no flag or experiment {name!r}{meant}", "Correct depends_on.")

    def _refuse_unmet(self, parent: FlagConfig, kind: str) -> None:
        """Raise if no user can meet the dependency: the service refuses such a parent in its app."""
        if parent.get("deleted"):
            raise self._refused(f"{described(parent, kind)} is archived", "Restore it first.")
        if self.config.get("evaluationMode") == "local" and parent.get("evaluationMode") == "remote":
            raise self._refused(
                f"it is evaluated locally, and {described(parent, kind)} remotely", "Use local evaluation for both."
            )

    def _variants_of(self, parent: FlagConfig, kind: str) -> list[str]:
        endpoints = self.client.flags if kind == "flags" else self.client.experiments
        return [variant["key"] for variant in parent.get("variants") or endpoints.variants(parent["id"])]

    def _refused(self, cause: str, advice: str) -> WrongStateError:
        return WrongStateError(
            f"Setting the dependencies of {self.target} failed: {cause}. Nothing was changed. {advice}"
        )


def _variants(name: str, given: Iterable[str]) -> list[str]:
    place = f"depends_on.{name}"
    return validate.some(place, validate.names(place, given), "at least one variant")
