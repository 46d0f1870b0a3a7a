"""Count each request in Airflow's metric ``amplitude_experiment.requests``, by method, route and status."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from airflow_provider_ampexp._keys import REQUESTS_METRIC

if TYPE_CHECKING:
    from airflow_provider_ampexp.client._request_stats import CallOutcome

_log = logging.getLogger(__name__)


def count_in_a_task(method: str, route: str, outcome: CallOutcome) -> None:
    """Count a request of a worker, with the SDK's metrics."""
    _count("airflow.sdk.observability.stats", method, route, outcome)


def count_in_the_triggerer(method: str, route: str, outcome: CallOutcome) -> None:
    """Count a request of the triggerer, with Airflow core's metrics."""
    _count("airflow.observability.stats", method, route, outcome)


def _count(module: str, method: str, route: str, outcome: CallOutcome) -> None:
    tags = {"method": method, "route": route, "status": str(outcome).replace(" ", "_")}
    try:
        import_module(module).Stats.incr(REQUESTS_METRIC, tags=tags)
    except Exception as error:
        # A request must not fail because of a metric.
        _log.debug("Counting a request failed: %s: %s", type(error).__name__, error)
