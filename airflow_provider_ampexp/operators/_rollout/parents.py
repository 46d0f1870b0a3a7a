"""How many users a flag can reach, because of the flags that it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_ampexp.bucketing import Audience
from airflow_provider_ampexp.client._errors import ManagementApiError, NotFoundError
from airflow_provider_ampexp.client._optional_fields import is_archived
from airflow_provider_ampexp.ensure._dependencies import described
from airflow_provider_ampexp.ensure._parents import operator_of, parents_of

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig
    from airflow_provider_ampexp.reconcile._flag import ManagedFlag
    from airflow_provider_ampexp.rollout import RolloutPlan


@dataclass(frozen=True)
class _Parent:
    """A flag or experiment that the ramped one depends on.

    :param words: the flag and its variants, for a sentence
    :param share: the largest percentage of users that meet the dependency; ``None`` if it is not known
    :param why: why no user meets it, or why it is not known
    :param config: empty if it could not be read
    """

    words: str
    share: float | None
    why: str
    config: FlagConfig


def limits_of_parents(flag: ManagedFlag, plan: RolloutPlan) -> Iterator[str]:
    """Yield why users do not meet the dependencies of a flag, and how many get it at the stages of the plan.

    It takes 1 request for each flag that this one depends on, and 2 for each experiment. The groups of the flag have a
    note of their own.
    """
    shown = flag.seen.audience.shown
    found = parents_of(shown).items()
    parents = [_read(flag.client, id, variants) for id, variants in found if id not in flag.groups]
    if len(found) > 1 and operator_of(shown.get("parentDependencies")) == "any":
        shares = [parent.share for parent in parents if parent.share is not None]
        if len(shares) == len(found):
            yield from _limit(f"any of {', '.join(parent.words for parent in parents)}", sum(shares), None, plan)
        return
    for parent in parents:
        if parent.why:
            yield f"it depends on {parent.words}, which {parent.why}."
        elif parent.share is not None:
            expected = parent.share if _is_independent(flag.config, parent.config) else None
            yield from _limit(parent.words, parent.share, expected, plan)


def _limit(words: str, share: float, independent: float | None, plan: RolloutPlan) -> Iterator[str]:
    """Yield the sentences for a parent with fewer users than the plan.

    :param independent: the share again, if the two flags bucket users independently
    """
    stages = [stage.percentage for stage in plan.all_stages]
    above = next((stage for stage in stages if stage > share), None)
    if share >= 100 or (above is None and independent is None):
        return
    limit = f"it depends on {words}, which at most {share:g} % of users get."
    if above is not None:
        limit += f" From stage {above} % on, at most {share:g} % of users get it."
    if independent is not None:
        expected = independent * stages[-1] / 100
        limit += f" At stage {stages[-1]} % expect {expected:g} %: the two flags bucket users independently."
    yield limit


def _is_independent(child: FlagConfig, parent: FlagConfig) -> bool:
    """Return true if the hash of one flag says nothing about that of the other, and one percentage is for all users."""
    salts = [config.get("bucketingSalt") for config in (child, parent)]
    return not parent.get("targetSegments") and None not in salts and salts[0] != salts[1]


def _read(client: ManagementClient, id: str, variants: Sequence[str]) -> _Parent:
    met_by = f"(variant {' or '.join(map(repr, variants))})"
    try:
        config, kind = _found(client, id)
    except NotFoundError:
        return _Parent(f"{id} {met_by}", None, "is no flag or experiment: it may be a group", {})
    except ManagementApiError as error:
        return _Parent(f"flag {id} {met_by}", None, f"could not be read ({error})", {})
    share = Audience.of(config).largest_share(variants)
    return _Parent(f"{described(config, kind)} {met_by}", share, "" if share != 0 else _why_none(config), config)


def _found(client: ManagementClient, id: str) -> tuple[FlagConfig, str]:
    try:
        return client.flags.get(id), "flags"
    except NotFoundError:
        return client.experiments.get(id), "experiments"


def _why_none(config: Mapping[str, object]) -> str:
    if is_archived(config):
        return "is archived"
    if config.get("enabled") is False:
        return "is disabled"
    return "is at 0 %" if config.get("rolloutPercentage") == 0 else "no user gets"
