"""Report errors to Airflow: which errors a retry can fix, and what was being done to which flag."""

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
    """Say in every error what was being done, unless the error says it: ``Restoring version 1 of ... failed: ...``.

    :param what: such as ``set the rollout percentage of flag 'checkout'``, or a function that returns it. A text that
        begins with a capital is the whole beginning of the error.
    :param has_begun: whether the key and the flag were accepted before, so that a refusal may pass
    :raises AirflowFailException: when a retry cannot fix it
    :raises AmplitudeTaskError: when one may
    """
    try:
        yield
    except (*NEEDS_A_PERSON, *_MAY_PASS) as error:
        # What was raised below says nothing more than its message does, so the log is spared its traceback.
        is_retried = is_retryable(error) or (has_begun and may_be_momentary(error))
        kind = AmplitudeTaskError if is_retried else AirflowFailException
        raise kind(_with_purpose(what if isinstance(what, str) else what(), str(error))) from None


def _with_purpose(what: str, said: str) -> str:
    if what[0].isupper():
        return f"{what}: {said}"
    return said if _SAYS_WHAT_FAILED.match(said) else f"Failed to {what}: {said}"
