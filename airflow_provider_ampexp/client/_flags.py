"""The 18 endpoints of flags and of experiments (contract: *Flags and Experiments*)."""

from __future__ import annotations

import builtins  # here `list` is a method
from collections.abc import Iterable, Iterator
from typing import Literal

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import _request_body as request_body
from airflow_provider_ampexp.client import _responses as responses
from airflow_provider_ampexp.client._endpoints import Endpoints
from airflow_provider_ampexp.client._errors import AmbiguousKeyError
from airflow_provider_ampexp.client._optional_fields import is_archived, version_number
from airflow_provider_ampexp.client._pagination import PageCache, pages
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.client._transport import RetrySafety
from airflow_provider_ampexp.client.types import (
    Created,
    CreateFields,
    Deployment,
    EditFields,
    FlagConfig,
    VariantFields,
    Version,
)

Kind = Literal["flags", "experiments"]


class FlagEndpoints(Endpoints[Kind]):
    """The calls for flags or for experiments. ``kind`` is the path: ``flags`` or ``experiments``."""

    def list(
        self,
        *,
        key: str | None = None,
        project_id: str | None = None,
        include_archived: bool = False,
        cache: PageCache[FlagConfig] | None = None,
    ) -> Iterator[FlagConfig]:
        """Iterate over all objects, newest first, with a page of 1,000 in memory at a time (contract: *List*).

        :param key: only objects with exactly this key
        :param project_id: only objects of this project
        :param include_archived: also archived objects. The client always reads them and filters here, so that it
            misses no object when another one becomes archived during the list.
        :param cache: of a caller that lists again and again, and does not change the objects
        """
        if key is not None:
            validate.name("key", key)
        if project_id is not None:
            validate.name("project_id", project_id)
        return (item for page in self._pages(key, project_id, include_archived, cache) for item in page)

    def find(self, key: str, *, project_id: str | None = None) -> FlagConfig | None:
        """Find an object by its key, archived or not; ``None`` if there is none (contract: *List*).

        This takes one request if the service filters by key. For an older server the client reads page by page until
        it finds the key. Without a project it reads all pages, because another project may have the same key.

        :raises AmbiguousKeyError: when several projects have the key and there is no ``project_id``
        """
        validate.name("key", key)
        if project_id is not None:
            validate.name("project_id", project_id)
        found: builtins.list[FlagConfig] = []
        for page in self._pages(key, project_id, include_archived=True):
            found += page
            if found and project_id is not None:
                break
        if len(found) > 1:
            projects = ", ".join(str(config.get("projectId")) for config in found)
            raise AmbiguousKeyError("GET", f"/api/1/{self.kind}", f"{key!r} is in the projects {projects}.")
        return found[0] if found else None

    def get(self, id: str) -> FlagConfig:
        """Read an object (contract: *Get details*)."""
        return responses.flag_config(responses.an_object(self._call("GET", "/{id}", id=id)))

    def create(self, fields: CreateFields) -> Created:
        """Create an object (contract: *Create*). ``projectId`` and ``key`` are required."""
        body = request_body.flag_fields(fields)
        for required in ("projectId", "key"):
            validate.name(required, body.get(required))
        return responses.created(self._call("POST", "", body=body, repeat=RetrySafety.ONCE))

    def edit(self, id: str, fields: EditFields, *, as_read: bool = False) -> None:
        """Set the named fields, and leave the others (contract: *Edit*).

        :param as_read: true if the fields contain values that were read: percentages can then be fractions, such as
            0.5 % that a person set in Amplitude
        """
        self._call("PATCH", "/{id}", id=id, body=request_body.flag_fields(fields, patched=True, as_read=as_read))

    def versions(self, id: str) -> builtins.list[Version]:
        """Read the version history, newest first (contract: *List versions*)."""
        answer = self._call("GET", "/{id}/versions", id=id)
        found = answer.json()
        if isinstance(found, dict):  # the live service sometimes wraps the list
            found = found.get("versions")
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise answer.unexpected("Expected a list of versions")
        versions = [responses.version(item) for item in found]
        newest = max(versions, key=version_number, default=Version())
        self._transport.http.clock.read_history((self.kind, id), parse_timestamp(newest.get("createdAt")))
        return versions

    def version(self, id: str, version: int | str) -> Version:
        """Read one version (contract: *Get version details*)."""
        number = str(version) if type(version) is int else str(validate.name("version", version))
        return responses.version(
            responses.an_object(self._call("GET", "/{id}/versions/{version}", id=id, version=number), "version")
        )

    def variants(self, id: str) -> builtins.list[VariantFields]:
        """Read the variants with their weights (contract: *List variants*)."""
        answer = self._call("GET", "/{id}/variants", id=id)
        return [responses.variant(answer, item) for item in responses.a_list(answer)]

    def variant(self, id: str, variant_key: str) -> VariantFields:
        """Read one variant (contract: *Get variant details*)."""
        answer = self._call("GET", "/{id}/variants/{variant_key}", id=id, variant_key=variant_key)
        return responses.variant(answer, responses.an_object(answer, "key"))

    def create_variant(self, id: str, fields: VariantFields) -> None:
        """Add a variant (contract: *Create variant*). ``key`` is required."""
        body = request_body.variant_fields(fields)
        validate.name("key", body.get("key"))
        self._call("POST", "/{id}/variants", id=id, body=body, repeat=RetrySafety.ONCE)

    def edit_variant(self, id: str, variant_key: str, fields: VariantFields) -> None:
        """Set the named fields of a variant (contract: *Edit variant*)."""
        body = request_body.variant_fields(fields)
        # After a rename the old key does not exist, so a rename is not idempotent.
        repeat = RetrySafety.ONCE if body.get("key", variant_key) != variant_key else RetrySafety.SAFE
        self._call("PATCH", "/{id}/variants/{variant_key}", id=id, variant_key=variant_key, body=body, repeat=repeat)

    def remove_variant(self, id: str, variant_key: str) -> None:
        """Remove a variant (contract: *Remove variant*)."""
        self._call(
            "DELETE", "/{id}/variants/{variant_key}", id=id, variant_key=variant_key, repeat=RetrySafety.GONE_IS_DONE
        )

    def inclusions(self, id: str, variant_key: str) -> builtins.list[str]:
        """Read the ids that always get this variant (contract: *Get variant inclusions*)."""
        return responses.texts(self._call("GET", "/{id}/variants/{variant_key}/users", id=id, variant_key=variant_key))

    def add_inclusions(self, id: str, variant_key: str, users: Iterable[str]) -> None:
        """Add user or device ids, at most 2,000 for a variant (contract: *Add users to variant*)."""
        body = {"inclusions": validate.names("users", users)}
        if not body["inclusions"]:
            return
        route = "/{id}/variants/{variant_key}/users"
        self._call("POST", route, id=id, variant_key=variant_key, body=body, repeat=RetrySafety.ONCE)

    def remove_inclusion(self, id: str, variant_key: str, index: int) -> None:
        """Remove the id at this place of the list, counted from 0 (contract: *Remove users from variant*).

        Not idempotent: a second request removes the next id as well.
        """
        place = str(validate.index("index", index))
        route = "/{id}/variants/{variant_key}/users/{index}"
        self._call("DELETE", route, id=id, variant_key=variant_key, index=place, repeat=RetrySafety.ONCE)

    def remove_inclusions(self, id: str, variant_key: str, users: Iterable[str]) -> None:
        """Remove all entries of these user or device ids, at most 100 ids.

        Not in the contract: the live service has this endpoint, other servers return 404.
        """
        body = {"users": validate.names("users", users)}
        answer = self._call(
            "DELETE", "/{id}/variants/{variant_key}/bulk-delete-users", id=id, variant_key=variant_key, body=body
        )
        if answer.body.strip().lower() not in (b"", b"ok", b"{}"):
            # The contract does not have this endpoint, so only 'OK' counts as success.
            raise answer.unexpected("Expected 'OK'")

    def remove_all_inclusions(self, id: str, variant_key: str) -> None:
        """Remove all ids (contract: *Remove all users from variant*)."""
        self._call("DELETE", "/{id}/variants/{variant_key}/users", id=id, variant_key=variant_key)

    def cohorts(self, id: str, variant_key: str) -> builtins.list[str]:
        """Read the ids of the cohorts that always get this variant.

        The contract does not have the calls for cohorts. The live service has them, other servers return 404.
        """
        return responses.texts(
            self._call("GET", "/{id}/variants/{variant_key}/cohorts", id=id, variant_key=variant_key)
        )

    def add_cohorts(self, id: str, variant_key: str, cohorts: Iterable[str]) -> None:
        """Include cohorts by their ids. Not in the contract."""
        body = {"inclusions": validate.names("cohorts", cohorts)}
        if not body["inclusions"]:
            return
        route = "/{id}/variants/{variant_key}/cohorts"
        self._call("POST", route, id=id, variant_key=variant_key, body=body, repeat=RetrySafety.ONCE)

    def remove_cohorts(self, id: str, variant_key: str, cohorts: Iterable[str]) -> None:
        """Remove all entries of these cohorts, at most 100 ids. Not in the contract."""
        body = {"users": validate.names("cohorts", cohorts)}  # the service's own name of the field
        route = "/{id}/variants/{variant_key}/bulk-delete-cohorts"
        self._call("DELETE", route, id=id, variant_key=variant_key, body=body)

    def deployments(self, id: str) -> builtins.list[Deployment]:
        """Read the deployments of an object (contract: *List flag or experiment deployments*)."""
        return [responses.deployment(item) for item in responses.a_list(self._call("GET", "/{id}/deployments", id=id))]

    def add_deployments(self, id: str, deployment_ids: Iterable[str]) -> None:
        """Assign an object to deployments (contract: *Create flag or experiment deployment*)."""
        body = {"deployments": validate.names("deployment_ids", deployment_ids)}
        if not body["deployments"]:
            return
        self._call("POST", "/{id}/deployments", id=id, body=body, repeat=RetrySafety.ONCE)

    def remove_deployment(self, id: str, deployment_id: str) -> None:
        """Remove an object from a deployment (contract: *Remove deployment*)."""
        route = "/{id}/deployments/{deployment_id}"
        self._call("DELETE", route, id=id, deployment_id=deployment_id, repeat=RetrySafety.GONE_IS_DONE)

    def _pages(
        self,
        key: str | None,
        project_id: str | None,
        include_archived: bool,
        cache: PageCache[FlagConfig] | None = None,
    ) -> Iterator[builtins.list[FlagConfig]]:
        query = {
            **({"key": key} if key is not None else {}),
            **({"projectId": project_id} if project_id is not None else {}),
            # Without archived objects, an object that becomes archived would move others past the cursor, unseen.
            "includeArchived": "true",
        }
        for page in pages(self._transport, self.kind, query, responses.flag_config, cache=cache):
            # A server that does not know a filter ignores it, so everything is looked at again.
            yield [
                item
                for item in page
                if (key is None or item.get("key") == key)
                and (project_id is None or item.get("projectId") in (None, project_id))
                and (include_archived or not is_archived(item))
            ]
