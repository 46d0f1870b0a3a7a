"""A call that got no answer: was anything sent, and is there hope?

``requests`` raises one kind of error for very different things, and what it raises holds the request with its key. So
it is judged here and told in our own words.
"""

from __future__ import annotations

import ssl
import traceback
from dataclasses import dataclass

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError


@dataclass(frozen=True)
class FailedCall:
    """What is known of a call that got no answer.

    :param never_sent: whether it failed before any of it was sent
    :param hopeless: whether waiting does not help
    :param why: what happened
    :param timed_out: whether it was sent and only took too long, so that it may still be carried out
    :param began: whether an answer began, and did not come whole
    """

    never_sent: bool
    hopeless: bool
    why: str
    timed_out: bool = False
    began: bool = False

    @classmethod
    def of(cls, error: requests.RequestException, timeout: float) -> FailedCall:
        """Judge what ``requests`` raised."""
        never_sent = _never_sent(error)
        if isinstance(error, requests.Timeout) and not never_sent:
            return cls(never_sent, False, f"No answer within {timeout:g} s.", timed_out=True)
        cause = error.args[0] if error.args else error
        cause = getattr(cause, "reason", None) or cause
        return cls(never_sent, _is_permanent(error), f"{type(cause).__name__}: {cause}")


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the call failed before any of it was sent: no address, no connection, no trust in the certificate."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    if not isinstance(error, requests.ConnectionError):
        # A bad address or header is found before anything is sent; a timeout or a broken body after.
        return isinstance(error, ValueError) and not isinstance(error, requests.exceptions.JSONDecodeError)
    reason = _reason(error)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError) or _is_handshake(reason)


def _is_permanent(error: requests.RequestException) -> bool:
    """Errors for which waiting does not help: a peer that is not trusted or speaks no TLS, an address that is none."""
    return isinstance(error, ValueError) or _is_handshake(_reason(error))


def _reason(error: requests.RequestException) -> object:
    cause = error.args[0] if error.args else None
    return cause.reason if isinstance(cause, MaxRetryError) else None


def _is_handshake(reason: object) -> bool:
    """Whether TLS was not established. TLS may break later as well, when the call was sent already."""
    inner = reason.args[0] if isinstance(reason, Exception) and reason.args else reason
    if not isinstance(inner, ssl.SSLError):
        return False
    return any(frame.name == "do_handshake" for frame in traceback.extract_tb(inner.__traceback__))
