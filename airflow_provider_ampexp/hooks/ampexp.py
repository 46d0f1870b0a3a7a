"""``AmplitudeExperimentHook``: a client of the Management API from an Airflow connection."""

from __future__ import annotations

import logging
from collections.abc import Collection
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_provider_ampexp._keys import DEFAULT_CONNECTION
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import (
    AccessDeniedError,
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    ManagementApiError,
    NotFoundError,
    RateLimitError,
)
from airflow_provider_ampexp.client._request_stats import RequestStats
from airflow_provider_ampexp.hooks._connection import ConnectionFields

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient

__all__ = ["AmplitudeExperimentHook"]

_TEST_TIMEOUT = 10.0
_TEST_RETRY_FOR = 3.0
_TEST_LOOKS_AT = 1000  # the first page
_TEST_NAMES = 10  # the largest number of projects to name


class AmplitudeExperimentHook(BaseHook):
    """Provide a :class:`~airflow_provider_ampexp.client.ManagementClient` for an Airflow connection.

    The connection type is ``amplitude_experiment``. The password is a management API key (``ampex_...``). The extras
    are ``region`` (``us``, the default, or ``eu``), ``project_id`` (the project in which a task looks up a key),
    ``base_url`` (replaces the region's address; https only, except on loopback), ``timeout`` (seconds to wait for a
    response, default 30) and ``retry_for`` (seconds during which the client may retry a call, default 120). Any other
    extra, a host, a schema or a port is an error. The login is ignored.

    The hook reads the connection at the first use, not in the constructor::

        with AmplitudeExperimentHook() as hook:
            for flag in hook.client.flags.list(project_id=hook.project_id):
                ...

    :param amplitude_conn_id: the connection's id
    """

    conn_name_attr = "amplitude_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "amplitude_experiment"
    hook_name = "Amplitude Experiment"
    summary_level = logging.INFO
    """The log level of the line with the number of requests."""

    def __init__(self, amplitude_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.amplitude_conn_id = amplitude_conn_id
        self._fields: ConnectionFields | None = None
        self._client: ManagementClient | None = None

    @property
    def fields(self) -> ConnectionFields:
        """Return the fields of the connection.

        :raises InvalidInputError: when a field is invalid; the error names the field and the connection, never the key
        """
        # No `cached_property`: before Python 3.12 its lock would serialise the lookups of all connections.
        if self._fields is None:
            self._fields = ConnectionFields.of(self.get_connection(self.amplitude_conn_id))
        return self._fields

    @property
    def client(self) -> ManagementClient:
        """The client, created at the first use and kept until :meth:`close`."""
        if self._client is None:
            self._client = self.fields.connect()
        return self._client

    @property
    def project_id(self) -> str | None:
        """The connection's project, for tasks without their own."""
        return self.fields.project_id

    @property
    def requests(self) -> RequestStats:
        """The numbers of requests that were sent."""
        return RequestStats() if self._client is None else self._client.requests

    def get_conn(self) -> ManagementClient:
        """Return :attr:`client`, under the method name of Airflow's hooks."""
        return self.client

    def close(self) -> None:
        """Close the client's connections, and log the number of requests."""
        if self._client is not None:
            self.log.log(self.summary_level, "%s.", self._client.requests)
            self._client.close()
            self._client = None

    def __enter__(self) -> AmplitudeExperimentHook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def test_connection(self) -> tuple[bool, str]:
        """List the first page of deployments (contract: *List deployments*). Return whether that worked, and a message.

        If no deployment is in ``project_id``, the test also reads flags and experiments. The test fails if the key sees
        other projects and nothing of this project.
        """
        try:
            fields = self.fields
            with fields.connect(timeout=min(fields.timeout, _TEST_TIMEOUT), retry_for=_TEST_RETRY_FOR) as client:
                try:
                    found = islice(client.deployments.list(), _TEST_LOOKS_AT)
                    deployments = [str(deployment.get("projectId")) for deployment in found]
                    if fields.project_id is None or fields.project_id in deployments:
                        return True, _what_works(client.base_url, deployments)
                    return _whether_it_sees(client, fields.project_id, deployments)
                except ManagementApiError as error:
                    return False, _what_is_wrong(fields, client.base_url, error)
        except InvalidInputError as error:
            return False, str(error)


def _what_works(base_url: str, projects: list[str]) -> str:
    found = f"{_count(projects, 'deployment')} in {_count(set(projects), 'project')}"
    return f"{base_url} accepts the key, which sees {found}."


def _whether_it_sees(client: ManagementClient, project_id: str, deployments: list[str]) -> tuple[bool, str]:
    """Return whether the test passes for a project without deployments, and a message."""
    if _has_something_in(client, project_id):
        return (
            True,
            f"{client.base_url} accepts the key, which sees project {project_id} without a deployment.",
        )
    others = set(deployments)
    if not others:
        others = {str(flag.get("projectId")) for flag in islice(client.flags.list(), _TEST_LOOKS_AT)}
    if not others:
        return True, (
            f"{client.base_url} accepts the key. The key sees no deployment, flag or experiment, so it is not known if "
            f"the key has access to project {project_id}."
        )
    return False, (
        f"{client.base_url} accepts the key, but the key sees nothing of project {project_id} of this connection. The "
        f"key sees {_count(others, 'project')}: {', '.join(sorted(others)[:_TEST_NAMES])}. Correct project_id, or give "
        "the key access to that project. A new project needs a deployment or a flag before this test can see it."
    )


def _has_something_in(client: ManagementClient, project_id: str) -> bool:
    both = (client.flags, client.experiments)
    try:
        return any(item.get("projectId") for of_kind in both for item in islice(of_kind.list(project_id=project_id), 1))
    except (AccessDeniedError, NotFoundError, InvalidRequestError):
        return False  # no access to this project; the key itself was accepted


def _count(found: Collection[str], noun: str) -> str:
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


def _what_is_wrong(fields: ConnectionFields, base_url: str, error: ManagementApiError) -> str:
    if isinstance(error, AuthenticationError):
        other = "eu" if fields.region == "us" else "us"
        cause = "mistyped or revoked"
        if not fields.base_url:
            cause = f"mistyped, revoked, or of the other region (set region to {other!r})"
        return f"{base_url} does not accept the key (401): it is {cause}."
    if isinstance(error, AccessDeniedError):
        return f"{base_url} accepts the key, but the key has no access (403). Give the key access to the project."
    if isinstance(error, ConnectionFailedError):
        return f"Cannot connect to {base_url} (check DNS, network, proxy and certificate): {error.detail}"
    if isinstance(error, RateLimitError):
        return f"{base_url} refuses more requests (429): {RateLimitError.meaning}"
    return f"{base_url} does not respond like the Management API: {error}"
