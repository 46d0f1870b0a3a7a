"""Poll a flag once and judge its state. Takes one request, or more after a refusal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_ampexp.ensure._errors import OtherProjectError, TargetNotFoundError
from airflow_provider_ampexp.ensure._flag_ref import FlagRef, flag_url
from airflow_provider_ampexp.exceptions import retry_while_unavailable
from airflow_provider_ampexp.polling._conditions import ConditionResult, WaitCondition
from airflow_provider_ampexp.polling._statuses import WaitStatus

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client.types import FlagConfig


def look(
    client: ManagementClient, target: FlagRef, condition: WaitCondition, *, was_seen: bool, until: float = math.inf
) -> ConditionResult:
    """Read the flag or experiment and judge it. A refusal is final after some minutes.

    A missing object can never meet the condition.

    :param was_seen: true if an earlier poll saw the object, so that a 404 may be temporary
    :param until: the time to stop reading, in seconds of ``time.monotonic()``
    :raises StillRefusedError: at that time, if the refusal is not final
    """

    def once() -> ConditionResult:
        try:
            return seen(client, condition, target.read(client))
        except TargetNotFoundError as error:
            if was_seen:
                raise
            return ConditionResult(WaitStatus.NEVER, why_never(target, error))

    try:
        return retry_while_unavailable(once, until)
    except TargetNotFoundError as error:
        return ConditionResult(WaitStatus.NEVER, why_never(target, error))


def why_never(target: FlagRef, error: TargetNotFoundError) -> str:
    """Return the reason why a wait for this target can never succeed."""
    if isinstance(error, OtherProjectError):
        return str(error).replace(" Nothing was changed.", "")
    return f"the {target} does not exist"


def seen(client: ManagementClient, condition: WaitCondition, config: FlagConfig) -> ConditionResult:
    """Judge a configuration."""
    verdict = condition.judge(config)
    return replace(verdict, seen={**verdict.seen, "url": flag_url(client, config)})
