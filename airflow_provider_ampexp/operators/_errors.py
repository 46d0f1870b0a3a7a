"""Report errors to Airflow, so that Airflow retries only temporary errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.ensure._errors import UnconfirmedWriteError
from airflow_provider_ampexp.exceptions import NEEDS_A_PERSON, AmplitudeTaskError, is_retryable, may_be_momentary

_MAY_PASS = (ManagementApiError, UnconfirmedWriteError)


@contextmanager
def error_context(what: str | Callable[[], str], *, has_begun: bool = False) -> Iterator[None]:
    """Add the failed action to each error, and raise the error for Airflow.

    :param what: the action, such as ``set the rollout percentage of flag 'checkout'``, or a function that returns the
        action when an error occurs
    :param has_begun: true if the key and the flag were accepted before, so a refusal may be temporary
    :raises AirflowFailException: when a retry cannot fix the error
    :raises AmplitudeTaskError: when a retry may fix the error
    """
    try:
        yield
    except (*NEEDS_A_PERSON, *_MAY_PASS) as error:
        # The traceback of the error adds nothing to its message, so the log does not show it.
        is_retried = is_retryable(error) or (has_begun and may_be_momentary(error))
        kind = AmplitudeTaskError if is_retried else AirflowFailException
        raise kind(f"Failed to {what if isinstance(what, str) else what()}: {error}") from None
