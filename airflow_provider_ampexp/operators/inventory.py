"""Operators that read one flag or experiment, or list all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_provider_ampexp import ensure
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.links.amplitude import push_link
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.operators._atomic_file import atomic_write
from airflow_provider_ampexp.operators._base import AmplitudeOperator, AmplitudeTargetOperator
from airflow_provider_ampexp.operators._errors import error_context

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_ampexp.client._flags import FlagEndpoints
    from airflow_provider_ampexp.client.types import FlagConfig
    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

__all__ = ["AmplitudeGetOperator", "AmplitudeListOperator"]

_INCLUDES = ("versions", "variants", "deployments", "inclusions", "cohorts")
_kind = arguments.one_of("flags", "experiments", "deployments", "mutexes", "holdouts")


class AmplitudeGetOperator(AmplitudeTargetOperator):
    """Read one flag or experiment, and return all its fields or the named fields (contract: *Get details*).

    The operator takes the arguments of :class:`~airflow_provider_ampexp.operators._base.AmplitudeTargetOperator`, and:

    :param fields: the fields to return, such as ``["key", "rolloutPercentage"]`` (templated, default: all fields)
    :param include: other lists to read: any of ``versions``, ``variants``, ``deployments``, ``inclusions`` and
        ``cohorts``. The result has the lists under the key ``included``. Each list is 1 request; inclusions and cohorts
        are 1 request for each variant. Only the live service has cohorts. (templated, default: none)
    """

    template_fields: Sequence[str] = (*AmplitudeTargetOperator.template_fields, "fields", "include")

    def __init__(
        self, *, fields: Sequence[str] | str | None = None, include: Sequence[str] | str = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.fields = fields
        self.include = include
        arguments.check_literal("fields", fields, arguments.field_names)
        arguments.check_literal("include", include, _includes)

    def execute(self, context: Context) -> dict[str, object]:
        """Read the flag or experiment.

        :raises AirflowFailException: when the flag or experiment does not exist, or a retry cannot fix the error
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        with error_context(f"read {self.described()}"), self.hook() as hook:
            fields = arguments.field_names("fields", self.fields)
            include = _includes("include", self.include)
            target = self.target(self.project_of(hook))
            config = target.read(hook.client)
            push_link(context, ensure.flag_url(hook.client, config))
            result = _chosen(config, fields)
            if include:
                endpoints = target.endpoints(hook.client)
                result["included"] = {name: _included(endpoints, config, name) for name in include}
        return result


class ListXCom(TypedDict):
    """The result of a task that writes a file."""

    path: str
    count: int


class AmplitudeListOperator(AmplitudeOperator):
    """List flags, experiments, deployments or groups, newest first (contract: *List*, *List deployments*).

    The task returns a list. With ``path``, the task writes a file with one JSON object per line, and returns
    ``{"path", "count"}``. All arguments except ``max_items`` are templated.

    :param kind: ``flags`` (default), ``experiments``, ``deployments``, ``mutexes`` (mutual exclusion groups) or
        ``holdouts`` (holdout groups). Only the live service has groups. A deployment is returned without its key,
        because applications authenticate with the key.
    :param key: only objects with exactly this key (not for deployments)
    :param project_id: only objects of this project (default: all projects that the key can see)
    :param include_archived: also list archived objects (default: ``False``). Amplitude never lists archived groups.
    :param fields: the fields to return of each object, such as ``["id", "key"]`` (default: all fields)
    :param path: the file to write, as a URL for ``ObjectStoragePath`` (``s3://conn_id@bucket/flags.jsonl``,
        ``file://``). The task replaces the file only when the new file is complete. After a failure the old file is
        still there.
    :param max_items: the most objects in a result without ``path``; more objects fail the task (default: 1,000)
    """

    template_fields: Sequence[str] = (
        *AmplitudeOperator.template_fields,
        "kind",
        "key",
        "include_archived",
        "fields",
        "path",
    )

    def __init__(
        self,
        *,
        kind: str = "flags",
        key: str | None = None,
        include_archived: bool | str = False,
        fields: Sequence[str] | str | None = None,
        path: str | None = None,
        max_items: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.key = key
        self.include_archived = include_archived
        self.fields = fields
        self.path = path
        self.max_items = max_items
        arguments.check_literal("kind", kind, _kind)
        arguments.check_literal("key", key, arguments.optional(arguments.identifier))
        arguments.check_literal("include_archived", include_archived, arguments.switch)
        arguments.check_literal("fields", fields, arguments.field_names)
        arguments.check_literal("path", path, arguments.optional(arguments.text))

    def execute(self, context: Context) -> list[dict[str, object]] | ListXCom:
        """List the objects.

        :raises AirflowFailException: when there are more than ``max_items`` objects and no ``path``, or a retry cannot
            fix the error
        :raises AmplitudeTaskError: when a retry may fix the error
        """
        with error_context(f"list {self.kind}"), self.hook() as hook:
            fields = arguments.field_names("fields", self.fields)
            items = (_chosen(item, fields) for item in self._items(hook))
            if self.path is not None:
                return self._write(items, arguments.text("path", self.path))
            found = list(islice(items, self.max_items + 1))
            if len(found) > self.max_items:
                raise InvalidInputError(
                    "max_items", f"more than {self.max_items} results; set path to write them to a file"
                )
            self.log.info("Found %d %s.", len(found), self.kind)
            return found

    def _items(self, hook: AmplitudeExperimentHook) -> Iterator[Mapping[str, object]]:
        kind = _kind("kind", self.kind)
        key = arguments.optional(arguments.identifier)("key", self.key)
        project_id = self.named_project()
        archived = arguments.switch("include_archived", self.include_archived)
        if kind == "deployments":
            if key is not None:
                raise InvalidInputError(
                    "key", "expected none for deployments. Omit key, and find the deployment by its label"
                )
            for deployment in hook.client.deployments.list():
                if project_id in (None, deployment.get("projectId")) and (archived or not deployment.get("deleted")):
                    yield _without_its_key(deployment)
            return
        if kind in ("mutexes", "holdouts"):
            groups = hook.client.mutexes if kind == "mutexes" else hook.client.holdouts
            yield from (group for group in groups.list(project_id=project_id) if key in (None, group.get("key")))
            return
        endpoints = hook.client.flags if kind == "flags" else hook.client.experiments
        yield from endpoints.list(key=key, project_id=project_id, include_archived=archived)

    def _write(self, items: Iterator[dict[str, object]], path: str) -> ListXCom:
        count = 0
        with atomic_write(path) as file:
            for item in items:
                file.write(json.dumps(item, ensure_ascii=False).encode() + b"\n")
                count += 1
        self.log.info("Wrote %d %s to %s.", count, self.kind, path)
        return {"path": path, "count": count}


def _includes(field: str, value: object) -> list[str]:
    read = arguments.one_of(*_INCLUDES)
    return [read(field, text) for text in arguments.texts(field, value)]


def _chosen(item: Mapping[str, object], fields: Sequence[str] | None) -> dict[str, object]:
    return dict(item) if fields is None else {name: item.get(name) for name in fields}


def _without_its_key(deployment: Mapping[str, object]) -> dict[str, object]:
    """Return a deployment without its key.

    Applications authenticate with the key, and all users who may read the DAG may read its XComs.
    """
    return {name: value for name, value in deployment.items() if name != "key"}


def _included(endpoints: FlagEndpoints, config: FlagConfig, name: str) -> object:
    id = config["id"]
    if name == "versions":
        return endpoints.versions(id)
    if name == "variants":
        return endpoints.variants(id)
    if name == "deployments":
        return [_without_its_key(deployment) for deployment in endpoints.deployments(id)]
    variants = config.get("variants") or endpoints.variants(id)
    read = endpoints.inclusions if name == "inclusions" else endpoints.cohorts
    return {variant["key"]: read(id, variant["key"]) for variant in variants}
