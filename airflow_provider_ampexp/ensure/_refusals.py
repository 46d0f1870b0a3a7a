"""Refusals of calls that the service accepted before. A refusal is final only if it lasts.

A service that is being deployed answers 401 or 404 for some seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from airflow_provider_ampexp.client._errors import AccessDeniedError, AuthenticationError, NotFoundError
from airflow_provider_ampexp.ensure._errors import OtherProjectError, TargetNotFoundError

REFUSED_FOR = 300.0
"""Seconds for which each call of a wait must be refused before the refusal is final."""

_PAUSE = 5.0
_MOMENTARY = (AuthenticationError, AccessDeniedError, NotFoundError, TargetNotFoundError)
_Found = TypeVar("_Found")

Errors = tuple[type[Exception], ...]


def may_be_momentary(error: Exception, also: Errors = ()) -> bool:
    """Return true if a refusal may be momentary, of a call that the service accepted before.

    :param also: errors that may be momentary, in addition to those of the API
    """
    return isinstance(error, (*_MOMENTARY, *also)) and not isinstance(error, OtherProjectError)


class Refusals:
    """The time since which each call of a wait was refused."""

    def __init__(self, also: Errors = ()) -> None:
        self._also = also
        self._since: float | None = None

    def are_over(self) -> None:
        """Record that the service accepted a call."""
        self._since = None

    def are_final(self, error: Exception) -> bool:
        """Return true if the refusal is final: it cannot be momentary, or has lasted for ``REFUSED_FOR``."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return not may_be_momentary(error, self._also) or now - self._since >= REFUSED_FOR


def describe_failed_poll(polled: object, error: Exception, is_refusal: bool) -> str:
    """Return the line for the log of a wait, which continues.

    :param polled: what was polled, such as ``flag 'checkout'``
    """
    if is_refusal:
        minutes = f"{REFUSED_FOR / 60:g} minutes"
        return (
            f"Amplitude refused a poll of {polled}. The wait ends after {minutes} of refusals. Correct the connection "
            f"before that. Cause: {error}"
        )
    return f"Polling {polled} failed; will keep retrying. Cause: {error}"


class StillRefusedError(Exception):
    """The time for a call was over before its refusal was final."""


def retry_while_refused(call: Callable[[], _Found], until: float = math.inf, also: Errors = ()) -> _Found:
    """Repeat a call that was accepted before and is refused now, until it succeeds or the refusal is final.

    :param until: the time of the last call, in seconds of ``time.monotonic()``
    :param also: errors that may be momentary, in addition to those of the API
    :raises StillRefusedError: when the call is still refused at that time
    """
    refusals = Refusals(also)
    while True:
        try:
            return call()
        except Exception as error:
            if refusals.are_final(error):
                raise
            if until <= time.monotonic():
                raise StillRefusedError(str(error)) from None
        time.sleep(max(0.0, min(_PAUSE, REFUSED_FOR, until - time.monotonic())))
