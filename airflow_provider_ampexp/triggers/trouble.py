"""Which errors another try can mend, be it a retry of the task or the next look of a trigger."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_ampexp.client.errors import (
    AccessDeniedError,
    AmbiguousKeyError,
    AuthenticationError,
    InvalidInputError,
    InvalidRequestError,
    NotFoundError,
    UnsupportedError,
)
from airflow_provider_ampexp.ensure.errors import EnsureError, UnsettledError

# A person has to do something first: mend the DAG, the key or the flag, or approve the change. A retry of a change that
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


def may_pass(error: Exception) -> bool:
    """Whether another try can mend it: no answer, an error of the service, the request limit."""
    return isinstance(error, UnsettledError) or not isinstance(error, NEEDS_A_PERSON)
