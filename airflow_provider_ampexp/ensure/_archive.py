"""Archive a flag or experiment, unless others depend on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_ampexp.client.types import FlagConfig
from airflow_provider_ampexp.ensure._edit import bring_checked
from airflow_provider_ampexp.ensure._errors import WrongStateError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._result import ChangeResult

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

IfDependedOn = Literal["fail", "archive"]


def ensure_archived(
    client: ManagementClient, target: FlagRef, *, if_depended_on: IfDependedOn = "fail"
) -> ChangeResult:
    """Archive an object, so that no user gets a variant of it.

    1 request without a change, 3 with a change, and 1 for each 1,000 flags and each 1,000 experiments of the project.

    :param if_depended_on: if a flag or experiment in use depends on it: ``fail`` raises, ``archive`` does not read the
        others
    :raises WrongStateError: names the flags and experiments that depend on it
    """
    config = target.read(client)
    is_checked = not config.get("deleted") and if_depended_on == "fail"
    if is_checked and (found := dependents(client, config)):
        raise WrongStateError(
            f"Archiving {target} failed: it is a dependency of {', '.join(found)}, whose users would get no "
            "variant. Nothing was changed. Remove the dependency, or set if_depended_on='archive'."
        )
    return bring_checked(client, target, config, {"archive": True})


def dependents(client: ManagementClient, config: FlagConfig) -> list[str]:
    """Describe the flags and experiments in use that depend on an object: 1 request for each 1,000 of each."""
    return [described(one, kind) for one, kind in _in_use(client, config) if config["id"] in parents_of(one)]


def parents_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the flags and experiments that an object depends on."""
    dependencies = config.get("parentDependencies") or {}
    return tuple(map(str, dependencies.get("flags") or ()))


def described(config: FlagConfig, kind: str) -> str:
    """Return the kind and the key, for a sentence."""
    return f"{'flag' if kind == 'flags' else 'experiment'} {config.get('key')!r}"


def _in_use(client: ManagementClient, config: FlagConfig) -> Iterator[tuple[FlagConfig, str]]:
    project = config.get("projectId")
    return chain.from_iterable(
        ((one, endpoints.kind) for one in endpoints.list(project_id=project))
        for endpoints in (client.flags, client.experiments)
    )
