"""One look at what is waited for: one request, and what it means for the wait."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_ampexp.ensure.errors import OtherProjectError, TargetNotFoundError
from airflow_provider_ampexp.ensure.target import Target, url_of
from airflow_provider_ampexp.triggers.conditions import Condition, Verdict

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.fields import FlagConfig


def look(client: ManagementClient, target: Target, condition: Condition) -> Verdict:
    """Read the flag or experiment and judge it. One that does not exist can never be as wanted."""
    try:
        config = target.read(client)
    except TargetNotFoundError as error:
        return Verdict("never", why_never(target, error))
    return seen(client, condition, config)


def why_never(target: Target, error: TargetNotFoundError) -> str:
    """Why a wait for this target can never end well."""
    if isinstance(error, OtherProjectError):
        return str(error).replace(" Nothing was changed.", "")
    return f"there is no {target}"


def seen(client: ManagementClient, condition: Condition, config: FlagConfig) -> Verdict:
    """Judge what was read."""
    verdict = condition.judge(config)
    return replace(verdict, seen={**verdict.seen, "url": url_of(client, config)})
