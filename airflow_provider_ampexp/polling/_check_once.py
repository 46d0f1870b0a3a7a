"""One look at what is waited for: one request, more while it is refused, and what the answer means for the wait."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_ampexp.ensure._errors import OtherProjectError, TargetNotFoundError
from airflow_provider_ampexp.ensure._flag_ref import Target, url_of
from airflow_provider_ampexp.exceptions import patiently
from airflow_provider_ampexp.polling._conditions import Condition, Verdict

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig


def look(
    client: ManagementClient, target: Target, condition: Condition, *, was_seen: bool, until: float = math.inf
) -> Verdict:
    """Read the flag or experiment and judge it. A refusal is an answer when it lasts.

    One that does not exist can never be as wanted.

    :param was_seen: whether it existed at an earlier look, so that a 404 may be for a moment
    :param until: when to stop reading, in seconds of ``time.monotonic()``
    :raises StillRefusedError: at that time
    """

    def once() -> Verdict:
        try:
            return seen(client, condition, target.read(client))
        except TargetNotFoundError as error:
            if was_seen:
                raise
            return Verdict("never", why_never(target, error))

    try:
        return patiently(once, until)
    except TargetNotFoundError as error:
        return Verdict("never", why_never(target, error))


def why_never(target: Target, error: TargetNotFoundError) -> str:
    """Why a wait for this target can never end well."""
    if isinstance(error, OtherProjectError):
        return str(error).replace(" Nothing was changed.", "")
    return f"there is no {target}"


def seen(client: ManagementClient, condition: Condition, config: FlagConfig) -> Verdict:
    """Judge what was read."""
    verdict = condition.judge(config)
    return replace(verdict, seen={**verdict.seen, "url": url_of(client, config)})
