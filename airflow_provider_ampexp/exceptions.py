"""Errors of tasks, and which errors a retry can fix."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import (
    AccessDeniedError,
    AmbiguousKeyError,
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    UnsupportedError,
)
from airflow_provider_ampexp.ensure import _refusals
from airflow_provider_ampexp.ensure._errors import (
    EnsureError,
    UnconfirmedWriteError,
)

# A person must first fix the DAG, the key or the flag, or approve the change. A retry of a change that waits for
# approval would only request the same approval again.
NEEDS_A_PERSON = (
    InvalidInputError,
    AuthenticationError,
    AccessDeniedError,
    AmbiguousKeyError,
    InvalidRequestError,
    NotFoundError,
    UnsupportedError,
    EnsureError,
    AirflowNotFoundException,  # the connection
)


_Found = TypeVar("_Found")


class AmplitudeTaskError(Exception):
    """The task failed for a temporary reason, so Airflow's ``retries`` apply.

    Changes that the task made before the error remain.
    """


def is_retryable(error: Exception) -> bool:
    """Return true if a retry can fix the error.

    Examples are a missing response, a server error and the request limit.
    """
    return isinstance(error, UnconfirmedWriteError) or not isinstance(error, NEEDS_A_PERSON)


# Airflow also reports that a connection "isn't defined" while its secrets backend is not available.
_MOMENTARY = (AirflowNotFoundException,)


def may_be_momentary(error: Exception) -> bool:
    """Return true if the refusal of a call that was accepted before may be temporary."""
    return _refusals.may_be_momentary(error, _MOMENTARY)


def refusals() -> _refusals.Refusals:
    """Return a new record of refusals, for a wait that has just begun."""
    return _refusals.Refusals(_MOMENTARY)


def patiently(call: Callable[[], _Found], until: float = math.inf) -> _Found:
    """Repeat a call that was accepted before, until its refusal is final.

    :param until: the time after which no call is repeated, in seconds of ``time.monotonic()``; default: no limit
    :raises StillRefusedError: when the refusal is not final at that time
    """
    return _refusals.patiently(call, until, _MOMENTARY)
