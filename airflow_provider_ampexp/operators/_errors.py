"""Raise errors as Airflow's exceptions: with or without a retry, and with the failed action in the message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.ensure._errors import UnconfirmedWriteError
from airflow_provider_ampexp.exceptions import NEEDS_A_PERSON, AmplitudeTaskError, is_retryable, may_be_momentary

_MAY_PASS = (ManagementApiError, UnconfirmedWriteError)
_SAYS_WHAT_FAILED = re.compile(r"(ROLLBACK NOT CONFIRMED|Conflict on|[A-Z][^:.]* failed:)")


@contextmanager
def error_context(what: str | Callable[[], str], *, has_begun: bool = False) -> Iterator[None]:
    """Name the failed action at the start of each error of this block.

    An error that already names its action, such as ``Restoring version 1 of ... failed: ...``, stays as it is.

    :param what: the action, such as ``set the rollout percentage of flag 'checkout'``, or a function that returns it. A
        text that begins with a capital letter is put before each error as it is, without ``Failed to``.
    :param has_begun: true if Amplitude accepted the key and the flag before, so that a refusal may be temporary
    :raises AirflowFailException: when a retry cannot fix the error
    :raises AmplitudeTaskError: when a retry may fix the error
    """
    try:
        yield
    except (*NEEDS_A_PERSON, *_MAY_PASS) as error:
        # The message of the error is complete, so the log does not need its traceback.
        is_retried = is_retryable(error) or (has_begun and may_be_momentary(error))
        kind = AmplitudeTaskError if is_retried else AirflowFailException
        raise kind(_with_purpose(what if isinstance(what, str) else what(), str(error))) from None


def _with_purpose(what: str, said: str) -> str:
    if what[0].isupper():
        return f"{what}: {said}"
    return said if _SAYS_WHAT_FAILED.match(said) else f"Failed to {what}: {said}"
