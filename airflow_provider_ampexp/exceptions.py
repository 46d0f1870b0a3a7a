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

# A person has to do something first: fix the DAG, the key or the flag, or approve the change. A retry of a change that
# waits for approval would only ask for the same approval again.
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
    """The task failed for a reason that may pass: Airflow's ``retries`` apply. What was done stays done."""


def is_retryable(error: Exception) -> bool:
    """Whether a retry can fix it: no answer, an error of the service, the request limit."""
    return isinstance(error, UnconfirmedWriteError) or not isinstance(error, NEEDS_A_PERSON)


# Airflow says that a connection "isn't defined" also while its secrets backend is away.
_MOMENTARY = (AirflowNotFoundException,)


def may_be_momentary(error: Exception) -> bool:
    """Whether what was accepted before can be refused so for a moment only."""
    return _refusals.may_be_momentary(error, _MOMENTARY)


def refusals() -> _refusals.Refusals:
    """Return the refusals of a wait that has just begun."""
    return _refusals.Refusals(_MOMENTARY)


def retry_while_unavailable(call: Callable[[], _Found], until: float = math.inf) -> _Found:
    """Call again while Amplitude refuses, or Airflow does not find the connection, until that is final.

    :param until: when to stop calling, in seconds of ``time.monotonic()``
    :raises StillRefusedError: at that time
    """
    return _refusals.retry_while_refused(call, until, _MOMENTARY)
