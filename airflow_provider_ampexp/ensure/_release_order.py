"""The order of a coordinated release: a flag comes after the flags that it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_provider_ampexp.ensure._dependencies import described
from airflow_provider_ampexp.ensure._errors import WrongStateError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._parents import parents_of

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig


def check_order(client: ManagementClient, targets: Sequence[FlagRef]) -> list[str]:
    """Read each flag or experiment, and compare the order with their dependencies: 1 request for each.

    :returns: their keys, in this order
    :raises TargetNotFoundError: when a flag or experiment does not exist
    :raises WrongStateError: when a flag or experiment comes before another that it depends on, is named twice, or is
        archived
    """
    configs = [(target.read(client), target.kind) for target in targets]
    words = {config["id"]: described(config, kind) for config, kind in configs}
    if len(words) < len(configs):
        ids = [config["id"] for config, _ in configs]
        twice = next(id for id in ids if ids.count(id) > 1)
        raise _refused(f"{words[twice]} is named twice", "Name it once.")
    if archived := [words[config["id"]] for config, _ in configs if config.get("deleted")]:
        raise _refused(f"{', '.join(archived)} is archived, so no user gets it", "Restore it first.")
    known: set[str] = set()
    for config, _ in configs:
        for parent in _within(config, words):
            if parent not in known:
                cause = f"{words[config['id']]} comes before {words[parent]}, on which it depends"
                raise _refused(cause, _advice([config for config, _ in configs], words))
        known.add(config["id"])
    return [str(config.get("key")) for config, _ in configs]


def _within(config: FlagConfig, words: Mapping[str, str]) -> list[str]:
    """Return the ids of the release that this object depends on."""
    return [parent for parent in parents_of(config) if parent in words]


def _advice(configs: Iterable[FlagConfig], words: Mapping[str, str]) -> str:
    """Return the order that fits, or the flags that depend on each other."""
    left, ordered = {config["id"]: config for config in configs}, []
    while ready := [id for id, config in left.items() if not set(_within(config, words)) & left.keys()]:
        ordered.append(ready[0])
        del left[ready[0]]
    if left:
        return f"These depend on each other: {', '.join(words[id] for id in left)}. Remove one of these dependencies."
    return f"Use this order: {', '.join(words[id] for id in ordered)}."


def _refused(cause: str, advice: str) -> WrongStateError:
    return WrongStateError(f"{cause[0].upper()}{cause[1:]}. Nothing was raised. {advice}")
