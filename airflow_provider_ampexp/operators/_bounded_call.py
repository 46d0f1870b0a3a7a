"""Make calls to Airflow that must not delay a rollout.

A task talks to Airflow through one socket. While Airflow's API server is not available, Airflow's own retries make a
call take minutes. A check can fail at that time. So notes in Airflow are written in another thread, and the rollout
waits at most 2 seconds for each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_ampexp.guardrails import _time_limit as time_limit
from airflow_provider_ampexp.guardrails._time_limit import LimitedCall

T = TypeVar("T")
LIMIT = 2.0
"""The time limit of a call to Airflow, in seconds."""

_log = logging.getLogger(__name__)


def begin(what: str, function: Callable[[], T]) -> LimitedCall[T]:
    """Begin a call in another thread, without waiting for its result.

    :param what: the action for the warning, such as ``keep the reason for the rollback``
    :param function: the call
    """
    return time_limit.begin(function, what)


def finish(what: str, call: LimitedCall[T], otherwise: T) -> T:
    """Return the result of the call, or log a warning and return ``otherwise``.

    The warning is for a call that failed, or that takes longer than 2 seconds from its beginning.
    """
    try:
        return call.result(LIMIT)
    except Exception as error:
        _log.warning("Airflow did not %s: %s. The rollout goes on without it.", what, error)
        return otherwise


def call_bounded(what: str, function: Callable[[], T], otherwise: T) -> T:
    """Make a call to Airflow and return its result.

    After an error or after 2 seconds, log a warning and return ``otherwise``.
    """
    return finish(what, begin(what, function), otherwise)
