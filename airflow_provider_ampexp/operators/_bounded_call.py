"""Calls to Airflow that must not keep a rollout waiting: Airflow may be away just when a check fails.

A task talks to Airflow through one socket, and Airflow's own retries make a call take minutes while its API server is
away. So what is only noted in Airflow is noted beside the rollout, and waited for briefly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_ampexp import _limited_call as limited_call
from airflow_provider_ampexp._limited_call import LimitedCall

T = TypeVar("T")
LIMIT = 2.0
"""The time limit in seconds of a call to Airflow."""

_log = logging.getLogger(__name__)


def finish(what: str, call: LimitedCall[T], otherwise: T) -> T:
    """Return the result of the call; ``otherwise``, with a warning, if it failed or takes longer than 2 seconds."""
    try:
        return call.result(LIMIT)
    except Exception as error:
        _log.warning("Call to Airflow failed (%s): %s. The task continues without it.", what, error)
        return otherwise


def call_bounded(what: str, function: Callable[[], T], otherwise: T) -> T:
    """Call Airflow, and continue without a response after 2 seconds."""
    return finish(what, limited_call.begin(function, what), otherwise)
