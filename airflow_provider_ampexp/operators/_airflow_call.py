"""Call Airflow with a time limit. A rollout must not wait while Airflow's API server is down.

A task sends its calls to Airflow through one socket. While the API server is down, Airflow's own retries let a call
take minutes. So a call that the rollout does not need runs in its own thread, and the task waits 2 seconds for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp._limited_call import LimitedCall

T = TypeVar("T")
LIMIT = 2.0
"""The time limit of a call to Airflow, in seconds from its start."""

_log = logging.getLogger(__name__)


def finish(what: str, call: LimitedCall[T], otherwise: T) -> T:
    """Return the result of a call. If it fails or takes more than 2 seconds, log a warning and return ``otherwise``.

    :param what: the purpose of the call, such as ``store the record of the rollout``
    """
    try:
        return call.result(LIMIT)
    except Exception as error:
        _log.warning("Call to Airflow failed (%s): %s. The task continues without it.", what, error)
        return otherwise


def call_airflow(what: str, function: Callable[[], T], otherwise: T) -> T:
    """Call Airflow. Without a response after 2 seconds, log a warning and return ``otherwise``."""
    return finish(what, limited_call.begin(function, what), otherwise)
