"""Send one request over a kept-alive session, and read its response. The key never shows in what this returns."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import requests

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client._auth import BearerKey
from airflow_provider_ampexp.client._response_body import (
    BodyNotReadError,
    BodyTooLargeError,
    ResponseBody,
    parse_json,
    read_body,
)
from airflow_provider_ampexp.client._service_clock import ServiceClock, parse_date
from airflow_provider_ampexp.client._transport_errors import FailedCall

_DETAIL_LENGTH = 500
_LONGEST_SHIFT = 1e10  # seconds, some 300 years: a date beyond that is invalid
_PHASES = 3  # to connect, until the response starts, until it is complete: each may take the timeout


class HttpSession:
    """A session with one service.

    :param timeout: the seconds of each phase of a request
    :param session: if not given, it makes its own and closes it
    """

    def __init__(self, bearer: BearerKey, *, base_url: str, timeout: float, session: requests.Session | None) -> None:
        self.bearer = bearer
        self.base_url = base_url
        self.timeout = timeout
        self._session = session or requests.Session()
        self._owns_session = session is None
        self._is_loopback = validate.is_loopback(urlsplit(base_url).hostname or "")
        if session is None and self._is_loopback:
            # A proxy would see the key. Without the environment's settings, the CA bundle for https is missing too.
            self._session.trust_env = False
            bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
            self._session.verify = bundle or True
        self.clock = ServiceClock(base_url)

    def close(self) -> None:
        if self._owns_session:
            self._session.close()

    def send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> ResponseBody | FailedCall:
        """Send once, and read the complete response within three times the timeout.

        An exception of ``requests`` contains the request with its key, so this returns a ``FailedCall`` instead.
        """
        seconds = _PHASES * self.timeout
        deadline = time.monotonic() + seconds
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                params=query,
                json=body,
                headers={"Accept": "application/json"},
                auth=self.bearer,
                timeout=self.timeout,
                allow_redirects=False,
                stream=True,
            )
            received = ResponseBody(response.status_code, response.headers, read_body(response, deadline, seconds))
        except BodyNotReadError as error:
            is_too_large = isinstance(error, BodyTooLargeError)
            return FailedCall(never_sent=False, hopeless=is_too_large, why=self._redacted(str(error)), began=True)
        except requests.RequestException as error:
            no_answer = FailedCall.of(error, self.timeout)
            return replace(no_answer, why=self._redacted(no_answer.why))
        except BaseException as interruption:
            # For example a task's timeout. Drop the frames that contain the header, because a traceback may show them.
            raise interruption.with_traceback(None) from None
        self.clock.heard(parse_date(received.headers.get("Date")), self._moved_on_purpose(received))
        return received

    def _redacted(self, text: str) -> str:
        return self.bearer.redact(text.encode(errors="replace")).decode()[:_DETAIL_LENGTH]

    def _moved_on_purpose(self, received: ResponseBody) -> timedelta:
        """Return the time by which the emulator moved its clock. Only an emulator on this machine counts."""
        told = received.headers.get("X-Emulator-Clock-Offset") if self._is_loopback else None
        with contextlib.suppress(ValueError, OverflowError):
            seconds = float(told or 0)
            if abs(seconds) < _LONGEST_SHIFT:
                return timedelta(seconds=seconds)
        return timedelta(0)

    def detail(self, received: ResponseBody) -> str:
        """Return the text of an error's body (JSON, text or HTML), shortened and without the key."""
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
