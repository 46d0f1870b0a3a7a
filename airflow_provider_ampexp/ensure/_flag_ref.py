"""A reference to a flag or experiment, by its key in a project or by its id."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import ManagementApiError, NotFoundError
from airflow_provider_ampexp.ensure._errors import OtherKindError, OtherProjectError, TargetNotFoundError

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import FlagEndpoints, Kind
    from airflow_provider_ampexp.client.types import FlagConfig

FLAG_WAYS = ("flag_key", "flag_id", "experiment_key", "experiment_id")
"""The arguments that name a flag or experiment. Exactly one of them is given."""


def only_way(**ways: str | None) -> tuple[str, str]:
    """Return the name and the value of the only argument that is given.

    :raises InvalidInputError: unless exactly one is given
    """
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        raise InvalidInputError(
            "/".join(given or ways), f"expected exactly one of {', '.join(ways)}, got {len(given) or 'none'}"
        )
    (way,) = given
    value = ways[way]
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(way, f"expected a non-empty string, got {value!r}")
    return way, value


@dataclass(frozen=True)
class ObjectRef(ABC):
    """The base of references to flags, experiments and groups. Exactly one of ``key`` and ``id`` is set."""

    kind: str
    key: str | None = None
    id: str | None = None
    project_id: str | None = None

    @property
    @abstractmethod
    def noun(self) -> str:
        """The kind of the object, in Amplitude's words."""

    def __str__(self) -> str:
        if self.key is None:
            return f"{self.noun} {self.id}"
        return f"{self.noun} {self.key!r}" + (f" of project {self.project_id}" if self.project_id else "")

    def is_in_project(self, found: Mapping[str, Any]) -> bool:
        """Return true if the object is in the named project, if no project is named, or if the object shows none."""
        return self.project_id is None or found.get("projectId") in (None, self.project_id)

    def refuse_other_project(self, found: Mapping[str, Any]) -> None:
        """Raise if the object of this id is in another project than the named one.

        :raises OtherProjectError: names both projects
        """
        if not self.is_in_project(found):
            raise OtherProjectError(
                f"The {self} ({found.get('key')!r}) is in project {found.get('projectId')}, not in the named project "
                f"{self.project_id}. Nothing was changed. Correct the id, or the project_id of the task or connection."
            )


@dataclass(frozen=True)
class FlagRef(ObjectRef):
    """A flag or an experiment."""

    kind: Kind

    @classmethod
    def of(
        cls,
        *,
        flag_key: str | None = None,
        flag_id: str | None = None,
        experiment_key: str | None = None,
        experiment_id: str | None = None,
        project_id: str | None = None,
    ) -> FlagRef:
        """Create a reference from the arguments of operators and sensors.

        :raises InvalidInputError: unless exactly one of the first four is given
        """
        way, value = only_way(
            flag_key=flag_key, flag_id=flag_id, experiment_key=experiment_key, experiment_id=experiment_id
        )
        kind: Kind = "flags" if way.startswith("flag") else "experiments"
        key, id = (value, None) if way.endswith("_key") else (None, value)
        return cls(kind, key, id, project_id or None)

    @property
    def noun(self) -> str:
        """The kind of the object, in Amplitude's words."""
        return "flag" if self.kind == "flags" else "experiment"

    def endpoints(self, client: ManagementClient) -> FlagEndpoints:
        """Return the calls for this kind of object."""
        return client.flags if self.kind == "flags" else client.experiments

    def read(self, client: ManagementClient) -> FlagConfig:
        """Read the object, archived or not, with one request.

        :raises TargetNotFoundError: when the object does not exist
        :raises OtherKindError: when it is an experiment in place of a flag, or the reverse
        :raises OtherProjectError: when the object of this id is in another project than the named one
        """
        found = self._found(client)
        if found is None:
            hint = self._named_as_the_other_kind(client)
            check = "key, the project_id" if self.key is not None else "id"
            error = OtherKindError if hint else TargetNotFoundError
            advice = hint or f"Check the {check} and the connection's region."
            raise error(f"The {self} does not exist. Nothing was changed. {advice}")
        self.refuse_other_project(found)
        return found

    def _found(self, client: ManagementClient) -> FlagConfig | None:
        endpoints = self.endpoints(client)
        if self.key is not None:
            return endpoints.find(self.key, project_id=self.project_id)
        try:
            return endpoints.get(str(self.id))
        except NotFoundError:
            return None

    def _named_as_the_other_kind(self, client: ManagementClient) -> str:
        """Return a hint if an experiment has the flag's key or id, or the reverse; otherwise "". One request."""
        other = replace(self, kind="experiments" if self.kind == "flags" else "flags")
        try:
            found = other._found(client)
        except ManagementApiError:
            return ""  # keep the first error
        if found is None:
            return ""
        a_thing, argument = ("a flag", "flag") if other.kind == "flags" else ("an experiment", "experiment")
        if self.key is not None:
            return f"The project has {a_thing} {self.key!r}: use {argument}_key."
        return f"The id {self.id} is {a_thing}: use {argument}_id."

    def identify(self, client: ManagementClient) -> ResolvedFlag:
        """Find the id. This takes one request, or none if the id is known and no project is named."""
        if self.id is not None and self.project_id is None:
            return ResolvedFlag(self.id, None, None)
        return ResolvedFlag.of(self.read(client))


@dataclass(frozen=True)
class KnownFlag(FlagRef):
    """A reference by id to a flag or experiment that was just read, with the words of the first reference."""

    words: str = ""

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class ResolvedFlag:
    """The identity of a flag or experiment."""

    id: str
    key: str | None
    project_id: str | None

    @classmethod
    def of(cls, config: FlagConfig) -> ResolvedFlag:
        return cls(config["id"], config.get("key"), config.get("projectId"))

    def url(self, client: ManagementClient) -> str:
        """Return the address of its page in Amplitude, as in the contract's *Create*; "" without a project."""
        return f"{client.base_url}/amplitude/{self.project_id}/config/{self.id}" if self.project_id else ""


def flag_url(client: ManagementClient, config: FlagConfig) -> str:
    """Return the address of a flag's or experiment's page in Amplitude."""
    return ResolvedFlag.of(config).url(client)
