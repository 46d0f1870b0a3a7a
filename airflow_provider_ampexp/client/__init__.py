"""Client of the Management API, over ``requests`` and ``tenacity``.

It does not use Airflow, so it works in a notebook as well::

    from airflow_provider_ampexp.client import ManagementClient

    with ManagementClient("ampex_...", region="eu") as client:
        for flag in client.flags.list():
            print(flag["key"], flag.get("rolloutPercentage"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import (
    AccessDeniedError,
    AmbiguousKeyError,
    AuthenticationError,
    ConnectionFailedError,
    GatewayRefusalError,
    InvalidRequestError,
    ManagementApiError,
    NoAnswerError,
    NotFoundError,
    RateLimitError,
    ServerError,
    UncertainWriteError,
    UnexpectedResponseError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from airflow_provider_ampexp.client._client import ManagementClient

__all__ = [
    "AccessDeniedError",
    "AmbiguousKeyError",
    "AuthenticationError",
    "ConnectionFailedError",
    "GatewayRefusalError",
    "InvalidInputError",
    "InvalidRequestError",
    "ManagementApiError",
    "ManagementClient",
    "NoAnswerError",
    "NotFoundError",
    "RateLimitError",
    "ServerError",
    "UncertainWriteError",
    "UnexpectedResponseError",
    "UnsupportedError",
]


def __getattr__(name: str) -> Any:
    # `requests` and `tenacity` load with the first client. DAG files need only the errors and the checks.
    if name == "ManagementClient":
        from airflow_provider_ampexp.client._client import ManagementClient

        return ManagementClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
