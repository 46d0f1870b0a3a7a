"""Errors of calls to the Management API."""

from __future__ import annotations


class ManagementApiError(Exception):
    """A call to the Management API failed.

    :param method: the HTTP method, such as ``PATCH``
    :param path: the path that was called, such as ``/api/1/flags/848345``
    :param detail: the service's message, or what happened to the call
    :param status: the HTTP status of the response, ``None`` without a response
    """

    meaning = "The call failed."

    def __init__(self, method: str, path: str, detail: str = "", status: int | None = None) -> None:
        self.method = method
        self.path = path
        self.detail = detail
        self.status = status
        answer = f" ({status})" if status is not None else ""
        super().__init__(f"{method} {path}: {self.meaning}{answer}{' ' + detail if detail else ''}")

    def __reduce__(self) -> tuple[type[ManagementApiError], tuple[str, str, str, int | None], dict[str, object]]:
        return type(self), (self.method, self.path, self.detail, self.status), self.__dict__


class InvalidRequestError(ManagementApiError):
    """400: the service rejected the input. Nothing was changed."""

    meaning = "Amplitude rejected the input; nothing was changed."


class AuthenticationError(ManagementApiError):
    """401: the key is invalid or was revoked. Nothing was changed."""

    meaning = "Amplitude does not accept the management API key (invalid, revoked, or of the other region)."


class AccessDeniedError(ManagementApiError):
    """403: the key has no access to that project. Nothing was changed."""

    meaning = "The management API key has no access to this project."


class NotFoundError(ManagementApiError):
    """404: the object does not exist. Nothing was changed."""

    meaning = "Not found: Amplitude has no such object."


class UnsupportedError(ManagementApiError):
    """405: the service does not allow the call for this object (a web experiment, a guide)."""

    meaning = "Amplitude does not allow this call (the API cannot edit web experiments and guides)."


class RateLimitError(ManagementApiError):
    """429: the limit of 100 requests a second or 100,000 a day (until midnight UTC) is used up.

    ``retry_after`` is the number of seconds to wait, if the service names one.
    """

    meaning = "The project's request limit is used up (100 a second, 100,000 a day until midnight UTC)."
    retry_after: float | None = None


class ServerError(ManagementApiError):
    """5xx for a read, after all retries."""

    meaning = "Amplitude had a server error."


class ConnectionFailedError(ManagementApiError):
    """No connection: nothing was sent, so nothing was changed."""

    meaning = "No connection to Amplitude; nothing was sent."


class NoAnswerError(ManagementApiError):
    """A read got no complete response (a timeout, a cut connection), after all retries. A read changes nothing."""

    meaning = "No complete response."


class UnexpectedResponseError(ManagementApiError):
    """The response does not match the contract."""

    meaning = "Unexpected response."


class GatewayRefusalError(UnexpectedResponseError):
    """A 4xx with an HTML page: a gateway before the service refused the call. The call did not reach the service."""

    meaning = "A gateway before Amplitude refused the call; nothing was changed."


class AmbiguousKeyError(ManagementApiError):
    """Several projects have the key, and the call named no project."""

    meaning = "More than one project has the key; name the project_id."


class UncertainWriteError(ManagementApiError):
    """The write was sent, and it is unknown whether it was applied. Read before you send it again.

    ``maybe_in_flight``: the service may still work on the write (no response, or a gateway timeout).
    """

    meaning = "The change was sent, but it is unknown whether it was applied: read before you send it again."
    maybe_in_flight = True


BY_STATUS: dict[int, type[ManagementApiError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: AccessDeniedError,
    404: NotFoundError,
    405: UnsupportedError,
    429: RateLimitError,
}
