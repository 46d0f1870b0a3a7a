"""Each request as a count among Airflow's metrics: ``ampexp.requests``, by method, route and status."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_ampexp.client._request_stats import CallOutcome

_log = logging.getLogger(__name__)
_NAME = "ampexp.requests"


def count_in_a_task(method: str, route: str, outcome: CallOutcome) -> None:
    """Count a request of a worker. The metrics of a task are the SDK's."""
    _count("airflow.sdk.observability.stats", method, route, outcome)


def count_in_the_triggerer(method: str, route: str, outcome: CallOutcome) -> None:
    """Count a request of the triggerer. Its metrics are the core's, which alone are set up there."""
    _count("airflow.observability.stats", method, route, outcome)


def _count(module: str, method: str, route: str, outcome: CallOutcome) -> None:
    tags = {"method": method, "route": route, "status": str(outcome).replace(" ", "_")}
    try:
        import_module(module).Stats.incr(_NAME, tags=tags)
    except Exception as error:
        # Nothing is to fail because it could not be counted, least of all a write.
        _log.debug("Could not count a request: %s: %s", type(error).__name__, error)
