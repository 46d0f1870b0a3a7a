"""The default retries of a rollout task. Without a retry, a flag stays as a failure left it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

RETRIES = 5
# 30 seconds, then 1, 2, 4 and 8 minutes: together longer than most outages of Airflow or Amplitude.
DELAYS: Mapping[str, Any] = {
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
}


def own_retries(named: Collection[str]) -> dict[str, Any]:
    """Return the arguments of Airflow's retries that the DAG does not set.

    ``[core] default_task_retries`` applies if it is higher. If the DAG sets one of the delays, it has to set all.

    :param named: the arguments that the DAG names: those of the task and those of its ``default_args``
    """
    from airflow.sdk import conf

    own: dict[str, Any] = {}
    if "retries" not in named:
        own["retries"] = max(RETRIES, conf.getint("core", "default_task_retries", fallback=0))
    if not {*DELAYS, "retry_policy"} & set(named):
        own |= DELAYS
    return own
