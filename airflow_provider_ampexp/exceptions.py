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

__all__ = ["AmplitudeTaskError"]

# A person must act first: correct the DAG, the key or the flag, or approve the change. A retry of a change that waits
# for approval would only request the same approval again.
NEEDS_A_PERSON = (
    InvalidInputError,
    AuthenticationError,
    AccessDeniedError,
    AmbiguousKeyError,
    InvalidRequestError,
    NotFoundError,
    UnsupportedError,
    EnsureError,
    AirflowNotFoundException,  # an unknown connection
)


_Found = TypeVar("_Found")


class AmplitudeTaskError(Exception):
    """The task failed for a temporary reason, so Airflow's ``retries`` apply. Changes that were made stay."""


def is_retryable(error: Exception) -> bool:
    """Return true if a retry can fix the error: no response, a server error, the request limit."""
    return isinstance(error, UnconfirmedWriteError) or not isinstance(error, NEEDS_A_PERSON)


# Airflow reports that a connection "isn't defined" also while its secrets backend is down.
_MOMENTARY = (AirflowNotFoundException,)


def may_be_momentary(error: Exception) -> bool:
    """Return true if the refusal of a call that was accepted before may be temporary."""
    return _refusals.may_be_momentary(error, _MOMENTARY)


def refusals() -> _refusals.Refusals:
    """Return the record of refusals for a new wait."""
    return _refusals.Refusals(_MOMENTARY)


def retry_while_unavailable(call: Callable[[], _Found], until: float = math.inf) -> _Found:
    """Call again while Amplitude refuses the call or Airflow does not find the connection. After 5 minutes, raise.

    :param until: the time to stop calling, in seconds of ``time.monotonic()``
    :raises StillRefusedError: at that time
    """
    return _refusals.retry_while_refused(call, until, _MOMENTARY)
