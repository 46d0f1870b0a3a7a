"""Errors of tasks, and which errors a retry can fix."""

from __future__ import annotations

import math
import time
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
from airflow_provider_ampexp.ensure._errors import (
    EnsureError,
    OtherProjectError,
    TargetNotFoundError,
    UnconfirmedWriteError,
)

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


class AmplitudeTaskError(Exception):
    """The task failed for a reason that may pass: Airflow's ``retries`` apply. What was done stays done."""


def is_retryable(error: Exception) -> bool:
    """Whether a retry can fix it: no answer, an error of the service, the request limit."""
    return isinstance(error, UnconfirmedWriteError) or not isinstance(error, NEEDS_A_PERSON)


REFUSED_FOR = 300.0
"""Seconds for which every try must be refused before the refusal is believed by a wait that has begun."""

_PAUSE = 5.0
_Found = TypeVar("_Found")


def may_be_momentary(error: Exception) -> bool:
    """Whether what was accepted before can be refused so for a moment only.

    A service that is being deployed answers 401 or 404 for some seconds. Airflow says that a connection "isn't
    defined" also while its secrets backend is away.
    """
    momentary = (AuthenticationError, AccessDeniedError, NotFoundError, TargetNotFoundError, AirflowNotFoundException)
    return isinstance(error, momentary) and not isinstance(error, OtherProjectError)


class Refusals:
    """Since when every try of a wait was refused."""

    def __init__(self) -> None:
        self._since: float | None = None

    def are_over(self) -> None:
        """A try was answered."""
        self._since = None

    def are_final(self, error: Exception) -> bool:
        """Whether the refusal is believed: it cannot be momentary, or has lasted for ``REFUSED_FOR``."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return not may_be_momentary(error) or now - self._since >= REFUSED_FOR


class StillRefusedError(Exception):
    """The time for a call was over before its refusal was final."""


def patiently(call: Callable[[], _Found], until: float = math.inf) -> _Found:
    """Call again what was accepted before and is refused now, until the refusal is final.

    :param until: when to stop calling, in seconds of ``time.monotonic()``
    :raises StillRefusedError: at that time
    """
    refusals = Refusals()
    while True:
        try:
            return call()
        except Exception as error:
            if refusals.are_final(error):
                raise
            if until <= time.monotonic():
                raise StillRefusedError(str(error)) from None
        time.sleep(max(0.0, min(_PAUSE, REFUSED_FOR, until - time.monotonic())))
