"""Read the mutual exclusion groups and holdout groups of an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp.bucketing._group_share import GroupShare
from airflow_provider_ampexp.client._errors import NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.client._flags import Kind
    from airflow_provider_ampexp.client.types import FlagConfig


def read_group_share(client: ManagementClient, kind: Kind, config: FlagConfig) -> GroupShare | None:
    """Read the groups of an experiment. This is 2 requests for up to 1,000 groups of each kind.

    A flag needs no request. A service without groups needs 1 request.

    :returns: ``None`` if the experiment is in no group, or the service does not have groups
    :raises ManagementApiError: when the groups cannot be read
    """
    if kind != "experiments":
        return None
    project_id = config.get("projectId")
    try:
        mutexes, holdouts = (list(groups.list(project_id=project_id)) for groups in (client.mutexes, client.holdouts))
    except (NotFoundError, UnsupportedError):
        return None
    return GroupShare.of(config["id"], mutexes, holdouts)
