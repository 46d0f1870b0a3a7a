"""What went wrong, told to Airflow: which errors a retry can mend, and what was being done to which flag."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from airflow_provider_ampexp.client.errors import (
    AccessDeniedError,
    AmbiguousKeyError,
    AuthenticationError,
    InvalidInputError,
    InvalidRequestError,
    ManagementApiError,
    NotFoundError,
    UnsupportedError,
)
from airflow_provider_ampexp.ensure.errors import EnsureError, UnsettledError

# A person has to do something first: mend the DAG, the key or the flag, or approve the change. A retry of a change that
# waits for approval would only ask for the same approval again.
_NEEDS_A_PERSON = (
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
_MAY_PASS = (ManagementApiError, UnsettledError)


class AmplitudeTaskError(Exception):
    """The task failed for a reason that may pass: Airflow's ``retries`` apply. What was done stays done."""


def may_pass(error: Exception) -> bool:
    """Whether a retry can mend it: no answer, an error of the service, the request limit."""
    return isinstance(error, UnsettledError) or not isinstance(error, _NEEDS_A_PERSON)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say in every error what was being done.

    :param what: such as ``set the rollout percentage of flag 'checkout'``
    :raises AirflowFailException: when no retry can mend it
    :raises AmplitudeTaskError: when one may
    """
    try:
        yield
    except (*_NEEDS_A_PERSON, *_MAY_PASS) as error:
        # What was raised below says nothing more than its message does, so the log is spared its traceback.
        kind = AmplitudeTaskError if may_pass(error) else AirflowFailException
        raise kind(f"Could not {what}. {error}") from None
