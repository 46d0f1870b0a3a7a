"""The door to the Management API."""

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
from airflow_provider_ampexp.client._request_stats import RequestStats
from airflow_provider_ampexp.client._transport import Transport
from airflow_provider_ampexp.client._versions_feed import VersionsFeed

if TYPE_CHECKING:
    import requests


class ManagementClient:
    """A client of the Amplitude Experiment Management API, version 1.

    :param api_key: a management key (``ampex_...``); it appears in no log, message, ``repr`` or traceback
    :param region: ``us`` or ``eu``: where the organisation's data lives
    :param base_url: overrides the region; https only, except on loopback
    :param timeout: seconds to wait for a connection, and again for an answer to begin. A whole call takes three times
        as long at most, and reads 64 MiB of an answer at most.
    :param retry_for: seconds from the first attempt of a call within which it may be repeated; 0 for never
    :param session: a ``requests.Session`` of your own, which you close yourself
    :raises InvalidInputError: when one of these is wrong; it names which

    What is repeated and what is not, ``docs/client.md`` tells.
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
        # A traceback may show local variables: it must find neither the key nor a password that stands in an address.
        del api_key, base_url
        if problem is not None:
            raise InvalidInputError("api_key", problem)
        if wrong is not None:
            address = None
            raise InvalidInputError("base_url", wrong)
        home = validate.region(region)
        self._transport = Transport(
            bearer,
            base_url=address.rstrip("/") if address else home,
            timeout=validate.timeout("timeout", timeout),
            retry_for=validate.seconds("retry_for", retry_for),
            session=session,
        )
        self.flags = FlagEndpoints(self._transport, "flags")
        self.experiments = FlagEndpoints(self._transport, "experiments")
        self.deployments = DeploymentEndpoints(self._transport)
        self.feed = VersionsFeed(self._transport)

    @property
    def base_url(self) -> str:
        """The address of the service."""
        return self._transport.base_url

    @property
    def timeout(self) -> float:
        """Seconds to wait for a connection, and again for an answer."""
        return self._transport.timeout

    @property
    def date(self) -> datetime | None:
        """The time on the service's own clock, never ahead of it; ``None`` before the first answer.

        A ``Date`` that the version history or this machine's clock contradicts by minutes is not believed: the
        earliest time that fits the history counts then, and a warning is logged.
        """
        return self.date_given(None)

    def date_given(self, local_clock_error: float | None) -> datetime | None:
        """The same as ``date``, with an earlier client's :attr:`local_clock_error`."""
        error = None if local_clock_error is None else timedelta(seconds=local_clock_error)
        return self._transport.clock.now(error)

    @property
    def local_clock_error(self) -> float | None:
        """How many seconds this machine's clock is ahead of the service's; ``None`` until a change was seen made."""
        error = self._transport.clock.local_error
        return None if error is None else error.total_seconds()

    @property
    def before_write(self) -> Callable[[], None] | None:
        """Called once, before the first request that changes something; what it raises keeps that request back."""
        return self._transport.before_write

    @before_write.setter
    def before_write(self, check: Callable[[], None] | None) -> None:
        self._transport.before_write = check

    @property
    def requests(self) -> RequestStats:
        """How many requests this client has sent, by route and outcome."""
        return self._transport.counts

    @property
    def unresolved_write_seconds(self) -> float:
        """How long a write that got no answer in time may still be carried out; 0 when there is none.

        It counts the timeout once more, 30 s at most. A write of something else is better sent after that.
        """
        return self._transport.unresolved_write_seconds

    def close(self) -> None:
        """Close the connections, unless the session was given."""
        self._transport.close()

    def __enter__(self) -> ManagementClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        made = hasattr(self, "_transport")  # a traceback may show one that could not be made
        return f"<ManagementClient of {self.base_url}>" if made else "<ManagementClient>"
