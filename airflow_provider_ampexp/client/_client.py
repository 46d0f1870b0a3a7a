"""The client of the Management API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._auth import BearerKey
from airflow_provider_ampexp.client._deployments import DeploymentEndpoints
from airflow_provider_ampexp.client._flags import FlagEndpoints
from airflow_provider_ampexp.client._groups import GroupEndpoints
from airflow_provider_ampexp.client._http_session import HttpSession
from airflow_provider_ampexp.client._request_stats import RequestStats
from airflow_provider_ampexp.client._transport import Transport
from airflow_provider_ampexp.client._versions_feed import VersionsFeed

if TYPE_CHECKING:
    import requests


class ManagementClient:
    """A client of the Amplitude Experiment Management API, version 1.

    :param api_key: a management key (``ampex_...``); it appears in no log, message, ``repr`` or traceback
    :param region: ``us`` or ``eu``: the region of the organisation's data
    :param base_url: replaces the region's address; https only, except on loopback
    :param timeout: seconds to wait for a connection, and again for the start of a response. A call takes at most three
        times as long, and reads at most 64 MiB of a response.
    :param retry_for: seconds from the first attempt during which the client may retry a call; 0 for no retry
    :param session: your own ``requests.Session``, which you close
    :raises InvalidInputError: when an argument is invalid; the error names the argument

    ``docs/client.md`` lists the calls that the client retries.
    """

    def __init__(
        self,
        api_key: str,
        *,
        region: str = "us",
        base_url: str | None = None,
        timeout: float = 30.0,
        retry_for: float = 120.0,
        session: requests.Session | None = None,
    ) -> None:
        bearer, problem = BearerKey(api_key), validate.key_problem(api_key)
        address, wrong = base_url, None if base_url is None else validate.base_url_problem(base_url)
        # A traceback may show local variables: delete the key, and an address that may have a password.
        del api_key, base_url
        if problem is not None:
            raise InvalidInputError("api_key", problem)
        if wrong is not None:
            address = None
            raise InvalidInputError("base_url", wrong)
        home = validate.region(region)
        http = HttpSession(
            bearer,
            base_url=address.rstrip("/") if address else home,
            timeout=validate.timeout("timeout", timeout),
            session=session,
        )
        self._transport = Transport(http, retry_for=validate.seconds("retry_for", retry_for))
        self.flags = FlagEndpoints(self._transport, "flags")
        self.experiments = FlagEndpoints(self._transport, "experiments")
        self.deployments = DeploymentEndpoints(self._transport)
        self.mutexes = GroupEndpoints(self._transport, "mutexes")
        self.holdouts = GroupEndpoints(self._transport, "holdouts")
        self.feed = VersionsFeed(self._transport)

    @property
    def base_url(self) -> str:
        """The address of the service."""
        return self._transport.http.base_url

    @property
    def timeout(self) -> float:
        """Seconds to wait for a connection, and again for a response."""
        return self._transport.http.timeout

    @property
    def date(self) -> datetime | None:
        """The time on the service's own clock, never ahead of it; ``None`` before the first response.

        A ``Date`` that differs by minutes from the version history or from this machine's clock does not count. Then
        the earliest time that fits the history counts, and the client logs a warning.
        """
        return self.date_given(None)

    def date_given(self, local_clock_error: float | None) -> datetime | None:
        """Return ``date``, with the :attr:`local_clock_error` of an earlier client."""
        error = None if local_clock_error is None else timedelta(seconds=local_clock_error)
        return self._transport.http.clock.now(error)

    @property
    def local_clock_error(self) -> float | None:
        """Seconds that this machine's clock is ahead of the service's; ``None`` until this client has seen a change."""
        error = self._transport.http.clock.local_error
        return None if error is None else error.total_seconds()

    @property
    def before_write(self) -> Callable[[], None] | None:
        """A function that runs once, before the first write. An exception of it prevents the write."""
        return self._transport.before_write

    @before_write.setter
    def before_write(self, check: Callable[[], None] | None) -> None:
        self._transport.before_write = check

    @property
    def requests(self) -> RequestStats:
        """The numbers of requests that this client has sent, by route and outcome."""
        return self._transport.counts

    @property
    def unresolved_write_seconds(self) -> float:
        """Seconds during which the service may still carry out a write that timed out; 0 without such a write.

        It counts the timeout once more, 30 s at most. Send the next write after that time.
        """
        return self._transport.unresolved_write_seconds

    def close(self) -> None:
        """Close the connections, unless the session was given."""
        self._transport.http.close()

    def __enter__(self) -> ManagementClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        made = hasattr(self, "_transport")  # a traceback may show a client whose constructor failed
        return f"<ManagementClient of {self.base_url}>" if made else "<ManagementClient>"
