"""One call to the service: the key, the connection, what is repeated and what is not.

What decides whether a failed call may be sent again is what is known of it:

* a 429 was not carried out: always repeated, when the service says so;
* what was never sent was not carried out: always repeated;
* a timeout, a cut connection or a 5xx leaves it open: repeated only where twice is the same as once (``RetrySafety``).
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import tenacity

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client._auth import BearerKey
from airflow_provider_ampexp.client._errors import (
    BY_STATUS,
    ConnectionFailedError,
    GatewayRefusalError,
    ManagementApiError,
    NoAnswerError,
    RateLimitError,
    ServerError,
    UncertainWriteError,
    UnexpectedResponseError,
)
from airflow_provider_ampexp.client._request_stats import CallOutcome, RequestStats
from airflow_provider_ampexp.client._response_body import (
    BodyNotReadError,
    BodyTooLargeError,
    ResponseBody,
    parse_json,
    read_body,
)
from airflow_provider_ampexp.client._service_clock import ServiceClock, parse_date
from airflow_provider_ampexp.client._transport_errors import FailedCall

_E = TypeVar("_E", bound=ManagementApiError)
_DETAIL_LENGTH = 500
_LONGEST_SHIFT = 1e10  # seconds, some 300 years: with more there is no date
_PHASES = 3  # to connect, until the answer begins, and until it is complete: each may take the timeout
LONGEST_RETRY_AFTER = 300.0
"""Seconds that a ``Retry-After`` can keep a caller away, at most."""
MAX_CONFIRM_SECONDS = 30.0
"""Seconds that a write without an answer is given to be carried out after all, at most."""


class RetrySafety(enum.Enum):
    """Whether a call may be sent again when nobody knows whether it was carried out."""

    SAFE = "twice is the same as once"
    GONE_IS_DONE = "as SAFE, and a 404 on the repeat says that the first one did it"
    ONCE = "twice is not once: the caller must read"


@dataclass(frozen=True)
class ApiResponse:
    """An answer that says yes."""

    method: str
    path: str
    status: int
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON.

        :raises UnexpectedResponseError: when it is not
        """
        try:
            return parse_json(self.body)
        except ValueError as error:
            is_deep = "nested" in str(error)
        raise self.unexpected("The body is JSON that is nested too deeply" if is_deep else "The body is not JSON")

    def unexpected(self, problem: str) -> UnexpectedResponseError:
        """The error that says in what the answer is not what the contract says."""
        return UnexpectedResponseError(self.method, self.path, f"{problem}: {self.body[:200]!r}", self.status)


def avoid_proxies(session: requests.Session) -> None:
    """Make a session for this very machine: no proxy is the way to it, and a proxy would see the key."""
    session.trust_env = False
    # This drops the CA bundle of the environment, too, which a loopback address with https needs.
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


class Transport:
    """Sends calls over one kept-alive session.

    :param retry_for: seconds after the first attempt within which a call may be repeated; 0 means never
    """

    def __init__(
        self, bearer: BearerKey, *, base_url: str, timeout: float, retry_for: float, session: requests.Session | None
    ) -> None:
        self.bearer = bearer
        self._base_url = base_url
        self._timeout = timeout
        self._retry_for = retry_for
        self._session = session or requests.Session()
        self._owns_session = session is None
        self._is_loopback = validate.is_loopback(urlsplit(base_url).hostname or "")
        if session is None and self._is_loopback:
            avoid_proxies(self._session)
        self.clock = ServiceClock(base_url)
        self._late_until = 0.0
        self.before_write: Callable[[], None] | None = None
        self.counts = RequestStats()

    @property
    def base_url(self) -> str:
        return self._base_url

    @property
    def timeout(self) -> float:
        return self._timeout

    @property
    def unresolved_write_seconds(self) -> float:
        """How long a write that got no answer in time may still be carried out, as far as one can tell."""
        return max(0.0, self._late_until - time.monotonic())

    def note_unresolved_write(self) -> None:
        """A write got no answer in time. It is given the same time again, as the code that settles it does."""
        self._late_until = time.monotonic() + min(self._timeout, MAX_CONFIRM_SECONDS)

    def close(self) -> None:
        if self._owns_session:
            self._session.close()

    def call(
        self,
        method: str,
        route: str,
        names: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        repeat: RetrySafety = RetrySafety.SAFE,
    ) -> ApiResponse:
        """Send one call, and again where that is right.

        :param route: the path after ``/api/1``, such as ``/flags/{id}``
        :param names: the ids and keys that stand in it
        """
        if method != "GET" and self.before_write is not None:
            check, self.before_write = self.before_write, None
            check()
        found = {field: quote(validate.path_name(field, value), safe="") for field, value in (names or {}).items()}
        path = "/api/1" + route.format(**found)
        call = _Call(self, method, path, "/api/1" + route, query, body, repeat)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(call.may_be_repeated),
            wait=_wait,
            before_sleep=self._count_wait,
            stop=tenacity.stop_before_delay(self._retry_for),
            reraise=True,
        )
        try:
            return retrying(call.attempt)
        except ManagementApiError as error:
            last = error
        raise call.judged(last)

    def _count_wait(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RateLimitError) and state.next_action is not None:
            self.counts.waited_for_429(state.next_action.sleep)

    def send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> ResponseBody | FailedCall:
        """Send once, and read the whole answer within three times the timeout.

        What ``requests`` raises holds the request with its key, so it is told in our own words.
        """
        seconds = _PHASES * self._timeout
        deadline = time.monotonic() + seconds
        try:
            response = self._session.request(
                method,
                self._base_url + path,
                params=query,
                json=body,
                headers={"Accept": "application/json"},
                auth=self.bearer,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
            received = ResponseBody(response.status_code, response.headers, read_body(response, deadline, seconds))
        except BodyNotReadError as error:
            is_too_large = isinstance(error, BodyTooLargeError)
            return FailedCall(never_sent=False, hopeless=is_too_large, why=self._redacted(str(error)), began=True)
        except requests.RequestException as error:
            no_answer = FailedCall.of(error, self._timeout)
            return replace(no_answer, why=self._redacted(no_answer.why))
        except BaseException as interruption:
            # A task's timeout, say. Below here there are frames that hold the header, and a traceback may show them.
            raise interruption.with_traceback(None) from None
        self.clock.heard(parse_date(received.headers.get("Date")), self._moved_on_purpose(received))
        return received

    def _redacted(self, text: str) -> str:
        return self.bearer.redact(text.encode(errors="replace")).decode()[:_DETAIL_LENGTH]

    def _moved_on_purpose(self, received: ResponseBody) -> timedelta:
        """How far the emulator's clock was moved. Nothing but an emulator on this machine is asked."""
        told = received.headers.get("X-Emulator-Clock-Offset") if self._is_loopback else None
        with contextlib.suppress(ValueError, OverflowError):
            seconds = float(told or 0)
            if abs(seconds) < _LONGEST_SHIFT:
                return timedelta(seconds=seconds)
        return timedelta(0)

    def detail(self, received: ResponseBody) -> str:
        """What an error's body says: JSON, text, HTML or nothing, shortened and without the key."""
        said: Any = self.bearer.redact(received.body).decode(errors="replace").strip()
        try:
            parsed = parse_json(said)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            said = next((parsed[name] for name in ("error", "message", "detail") if parsed.get(name)), said)
        text = said if isinstance(said, str) else json.dumps(said)
        if text.lstrip().startswith("<"):
            text = "(an HTML page)"
        return text[:_DETAIL_LENGTH]


class _Call:
    """One call with all its attempts. An attempt raises; ``may_be_repeated`` judges what it raised."""

    def __init__(
        self,
        transport: Transport,
        method: str,
        path: str,
        route: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        repeat: RetrySafety,
    ) -> None:
        self._transport = transport
        self._method = method
        self._path = path
        self._route = route
        self._query = query
        self._body = body
        self._repeat = repeat
        self._maybe_applied = False
        self._is_permanent = False
        self._is_repeat = False

    def attempt(self) -> ApiResponse:
        answer = self._transport.send(self._method, self._path, self._query, self._body)
        self._count(answer)
        if isinstance(answer, FailedCall):
            raise self._without_answer(answer)
        if 200 <= answer.status < 300:
            return self._answer(answer.status, answer.body)
        is_gone = answer.status == 404 and not _is_html(answer)
        if is_gone and self._maybe_applied and self._repeat is RetrySafety.GONE_IS_DONE:
            return self._answer(answer.status, b"")
        raise self._refused(answer)

    def _count(self, answer: ResponseBody | FailedCall) -> None:
        if isinstance(answer, FailedCall):
            outcome: CallOutcome = "not sent" if answer.never_sent else "no answer"
        else:
            outcome = answer.status
        self._transport.counts.sent(self._method, self._route, outcome, is_repeat=self._is_repeat)
        self._is_repeat = True

    def judged(self, last: ManagementApiError) -> ManagementApiError:
        """What the call as a whole has come to. A refusal tells nothing of an earlier attempt that was left open."""
        if not self._maybe_applied or isinstance(last, UncertainWriteError):
            return last
        return UncertainWriteError(self._method, self._path, f"Its last attempt: {last}", last.status)

    def _answer(self, status: int, body: bytes) -> ApiResponse:
        return ApiResponse(self._method, self._path, status, self._transport.bearer.redact(body))

    def may_be_repeated(self, error: BaseException) -> bool:
        if isinstance(error, RateLimitError):
            return True
        if isinstance(error, ConnectionFailedError):
            return not self._is_permanent
        if isinstance(error, UncertainWriteError | GatewayRefusalError):
            return self._repeat is not RetrySafety.ONCE
        return isinstance(error, ServerError | NoAnswerError)

    def _without_answer(self, answer: FailedCall) -> ManagementApiError:
        self._is_permanent = answer.hopeless
        if answer.never_sent:
            return self._error(ConnectionFailedError, answer.why)
        if self._method == "GET":
            is_too_large = answer.began and answer.hopeless
            return self._error(UnexpectedResponseError if is_too_large else NoAnswerError, answer.why)
        self._maybe_applied = True
        if answer.timed_out:
            self._transport.note_unresolved_write()
        return self._error(UncertainWriteError, answer.why)

    def _refused(self, received: ResponseBody) -> ManagementApiError:
        status, detail = received.status, self._transport.detail(received)
        if status >= 500 and self._method != "GET":
            self._maybe_applied = True
            error = self._error(UncertainWriteError, detail, status)
            # After its own 500 the service is done with the call; after a gateway's 502, 503 or 504 it may not be.
            error.maybe_in_flight = status != 500
            return error
        if status >= 500:
            return self._error(ServerError, detail, status)
        if status != 429 and status >= 400 and _is_html(received):
            return self._error(GatewayRefusalError, detail, status)
        if 300 <= status < 400:
            return self._error(UnexpectedResponseError, "A redirect, which is not followed.", status)
        refusal = self._error(BY_STATUS.get(status, UnexpectedResponseError), detail, status)
        if isinstance(refusal, RateLimitError):
            refusal.retry_after = _retry_after(received)
        return refusal

    def _error(self, kind: type[_E], detail: str, status: int | None = None) -> _E:
        return kind(self._method, self._path, detail, status)


def _is_html(received: ResponseBody) -> bool:
    """Whether the answer is a page, which the service never gives."""
    is_declared = received.headers.get("Content-Type", "").lower().startswith("text/html")
    return is_declared or received.body.lstrip().startswith(b"<")


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RateLimitError) else None
    if asked:
        # Many tasks may have been told the same second: they come back one after the other.
        return asked + random.uniform(0, min(1.0, asked))
    return _BACKOFF(state)


_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=30)


def _retry_after(received: ResponseBody) -> float | None:
    """Seconds to wait, from seconds or a date, on the clock of that answer where it tells the time.

    A proxy may ask for a day, or for ever. After ``LONGEST_RETRY_AFTER`` it is asked again all the same.
    """
    value = received.headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        until = parse_date(value)
        if until is None:
            return None
        now = parse_date(received.headers.get("Date")) or datetime.now(timezone.utc)
        seconds = (until - now).total_seconds()
    return None if seconds != seconds else min(max(0.0, seconds), LONGEST_RETRY_AFTER)
