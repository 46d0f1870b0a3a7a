"""Bring the inclusions of a variant to a state: users or devices that get it independent of the rollout percentage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef
from airflow_provider_ampexp.ensure._inclusion_list import InclusionList
from airflow_provider_ampexp.ensure._result import ChangeResult

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient


def ensure_included(client: ManagementClient, target: FlagRef, variant: str, users: Iterable[str]) -> ChangeResult:
    """Make sure that these users or devices get the variant, and leave others.

    2 requests without a change, 4 with a change; one fewer by id.
    """
    return InclusionList(client, target, variant, wanted=validate.names("users", users)).reconcile()


def ensure_not_included(client: ManagementClient, target: FlagRef, variant: str, users: Iterable[str]) -> ChangeResult:
    """Make sure that none of these users or devices is included, and leave others.

    By id, 2 requests and one for each 100 removed users. If the service does not remove by value: 2 requests, and 2 for
    each removed user.
    """
    unwanted = set(validate.names("users", users))
    return InclusionList(client, target, variant, goes=unwanted.__contains__).reconcile()


def ensure_exactly_included(
    client: ManagementClient, target: FlagRef, variant: str, users: Iterable[str]
) -> ChangeResult:
    """Make sure that exactly these users or devices are included."""
    wanted = validate.names("users", users)
    if not wanted:
        return ensure_no_inclusions(client, target, variant)
    if len(wanted) > validate.MAX_INCLUSIONS:
        raise InvalidInputError("users", f"expected at most {validate.MAX_INCLUSIONS}, got {len(wanted)}")
    stays = set(wanted)
    return InclusionList(client, target, variant, wanted=wanted, goes=lambda user: user not in stays).reconcile()


def ensure_no_inclusions(client: ManagementClient, target: FlagRef, variant: str) -> ChangeResult:
    """Remove all inclusions (contract: *Remove all users from variant*)."""
    return InclusionList(client, target, variant).clear()
