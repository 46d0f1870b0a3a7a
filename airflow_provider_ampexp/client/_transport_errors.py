"""Classify a call without a response: was it sent, and can a retry help?

``requests`` raises one type of error for different faults. Its exception also contains the request with its key. So
this module reads the exception and returns a ``FailedCall``.
"""

from __future__ import annotations

import ssl
import traceback
from dataclasses import dataclass

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError


@dataclass(frozen=True)
class FailedCall:
    """A call without a complete response.

    :param never_sent: true if the call failed before any part of it was sent
    :param hopeless: true if a retry cannot help
    :param why: the cause
    :param timed_out: true if the call was sent and timed out, so that the service may still carry it out
    :param began: true if a response started and is incomplete
    """

    never_sent: bool
    hopeless: bool
    why: str
    timed_out: bool = False
    began: bool = False

    @classmethod
    def of(cls, error: requests.RequestException, timeout: float) -> FailedCall:
        """Classify an exception of ``requests``."""
        never_sent = _never_sent(error)
        if isinstance(error, requests.Timeout) and not never_sent:
            return cls(never_sent, False, f"No response within {timeout:g} s.", timed_out=True)
        cause = error.args[0] if error.args else error
        cause = getattr(cause, "reason", None) or cause
        return cls(never_sent, _is_permanent(error), f"{type(cause).__name__}: {cause}")


def _never_sent(error: requests.RequestException) -> bool:
    """Return true if nothing was sent: a bad address, no connection, or an untrusted certificate."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    if not isinstance(error, requests.ConnectionError):
        # A bad address or header fails before anything is sent; a timeout or a broken body after.
        return isinstance(error, ValueError) and not isinstance(error, requests.exceptions.JSONDecodeError)
    reason = _reason(error)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError) or _is_handshake(reason)


def _is_permanent(error: requests.RequestException) -> bool:
    """Return true if a retry cannot help: a peer that is not trusted or has no TLS, or an invalid address."""
    return isinstance(error, ValueError) or _is_handshake(_reason(error))


def _reason(error: requests.RequestException) -> object:
    cause = error.args[0] if error.args else None
    return cause.reason if isinstance(cause, MaxRetryError) else None


def _is_handshake(reason: object) -> bool:
    """Return true if the TLS handshake failed. TLS can also break later, after the call was sent."""
    inner = reason.args[0] if isinstance(reason, Exception) and reason.args else reason
    if not isinstance(inner, ssl.SSLError):
        return False
    return any(frame.name == "do_handshake" for frame in traceback.extract_tb(inner.__traceback__))
