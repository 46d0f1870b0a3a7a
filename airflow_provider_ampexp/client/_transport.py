"""Send a call to the service, and retry it if that is safe.

The result of a failed call decides about a retry:

* a 429 was not carried out: always retried, after the time that the service names;
* a call that was not sent was not carried out: always retried;
* after a timeout, a cut connection or a 5xx the result is unknown: retried only if it is safe (``RetrySafety``).
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar
from urllib.parse import quote

import tenacity

from airflow_provider_ampexp import _validate as validate
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
from airflow_provider_ampexp.client._http_session import HttpSession
from airflow_provider_ampexp.client._request_stats import CallOutcome, RequestStats
from airflow_provider_ampexp.client._response_body import ResponseBody, parse_json
from airflow_provider_ampexp.client._service_clock import parse_date
from airflow_provider_ampexp.client._transport_errors import FailedCall

_E = TypeVar("_E", bound=ManagementApiError)
LONGEST_RETRY_AFTER = 300.0
"""The longest wait after a ``Retry-After``, in seconds."""
MAX_CONFIRM_SECONDS = 30.0
"""The longest time in seconds during which a write without a response may still be carried out."""


class RetrySafety(enum.Enum):
    """Decides about a retry when it is unknown whether a call was carried out."""

    SAFE = "idempotent"
    GONE_IS_DONE = "idempotent, and a 404 on the retry is success"
    ONCE = "not idempotent: the caller must read first"


@dataclass(frozen=True)
class ApiResponse:
    """A successful response."""

    method: str
    path: str
    status: int
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body as JSON.

        :raises UnexpectedResponseError: when the body is not JSON
        """
        try:
            return parse_json(self.body)
        except ValueError as error:
            is_deep = "nested" in str(error)
        raise self.unexpected("The body is JSON that is nested too deeply" if is_deep else "The body is not JSON")

    def unexpected(self, problem: str) -> UnexpectedResponseError:
        """Return the error for a response that does not match the contract."""
        return UnexpectedResponseError(self.method, self.path, f"{problem}: {self.body[:200]!r}", self.status)


class Transport:
    """Send calls, and retry them.

    :param retry_for: seconds from the first attempt during which a call may be retried; 0 for no retry
    """

    def __init__(self, http: HttpSession, *, retry_for: float) -> None:
        self.http = http
        self._retry_for = retry_for
        self._late_until = 0.0
        self.before_write: Callable[[], None] | None = None
        self.counts = RequestStats()

    @property
    def unresolved_write_seconds(self) -> float:
        """Return the seconds during which a write that timed out may still be carried out."""
        return max(0.0, self._late_until - time.monotonic())

    def note_unresolved_write(self) -> None:
        """Note a write that timed out. The service gets the same time again to carry it out."""
        self._late_until = time.monotonic() + min(self.http.timeout, MAX_CONFIRM_SECONDS)

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
        """Send a call, and retry it if that is safe.

        :param route: the path after ``/api/1``, such as ``/flags/{id}``
        :param names: the ids and keys in the path
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


@dataclass(repr=False, eq=False)  # a traceback may show local variables
class _Call:
    """A call with all its attempts. ``may_be_repeated`` decides about a retry after an attempt raised."""

    _transport: Transport
    _method: str
    _path: str
    _route: str
    _query: Mapping[str, str] | None
    _body: Mapping[str, Any] | None
    _repeat: RetrySafety
    _maybe_applied: bool = False
    _is_permanent: bool = False
    _is_repeat: bool = False

    def attempt(self) -> ApiResponse:
        answer = self._transport.http.send(self._method, self._path, self._query, self._body)
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
        """Return the error of the whole call. An earlier attempt may be uncertain although the last one was refused."""
        if not self._maybe_applied or isinstance(last, UncertainWriteError):
            return last
        return UncertainWriteError(self._method, self._path, f"Its last attempt: {last}", last.status)

    def _answer(self, status: int, body: bytes) -> ApiResponse:
        return ApiResponse(self._method, self._path, status, self._transport.http.bearer.redact(body))

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
        status, detail = received.status, self._transport.http.detail(received)
        if status >= 500 and self._method != "GET":
            self._maybe_applied = True
            error = self._error(UncertainWriteError, detail, status)
            # After a 500 the service has ended the call. After a gateway's 502, 503 or 504 it may still work on it.
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
    """Return true if the response is an HTML page, which the service never sends."""
    is_declared = received.headers.get("Content-Type", "").lower().startswith("text/html")
    return is_declared or received.body.lstrip().startswith(b"<")


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RateLimitError) else None
    if asked:
        # Many tasks may get the same Retry-After, so spread them over up to a second.
        return asked + random.uniform(0, min(1.0, asked))
    return _BACKOFF(state)


_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=30)


def _retry_after(received: ResponseBody) -> float | None:
    """Return the seconds to wait, from seconds or a date, on the clock of the response if it has a ``Date``.

    A proxy may ask for a day or longer, so the result is at most ``LONGEST_RETRY_AFTER``.
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
