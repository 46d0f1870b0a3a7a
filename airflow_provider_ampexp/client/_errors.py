"""What can go wrong when the Management API is asked for something."""

from __future__ import annotations


class ManagementApiError(Exception):
    """A call that did not do what was asked.

    :param method: the HTTP method, such as ``PATCH``
    :param path: the path that was called, such as ``/api/1/flags/848345``
    :param detail: what the service said of it, or what happened to the call
    :param status: the HTTP status of the answer, ``None`` when there was none
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
    """400: the service refused the input. Nothing was changed."""

    meaning = "Amplitude refused the input; nothing was changed."


class AuthenticationError(ManagementApiError):
    """401: the key is invalid or was revoked. Nothing was changed."""

    meaning = "Amplitude does not accept the management API key (invalid, revoked, or of the other region)."


class AccessDeniedError(ManagementApiError):
    """403: the key has no access to that project. Nothing was changed."""

    meaning = "The management API key has no access to this project."


class NotFoundError(ManagementApiError):
    """404: there is no such object. Nothing was changed."""

    meaning = "Amplitude knows no such object."


class UnsupportedError(ManagementApiError):
    """405: the service does not allow this for such an object (a web experiment, a guide)."""

    meaning = "Amplitude does not allow this here (web experiments and guides cannot be edited through the API)."


class RateLimitError(ManagementApiError):
    """429: the limit of 100 requests a second or 100,000 a day (until midnight UTC) is used up.

    ``retry_after`` is how many seconds the service asked to wait, if it said so.
    """

    meaning = "The project's request limit is used up (100 a second, 100,000 a day until midnight UTC)."
    retry_after: float | None = None


class ServerError(ManagementApiError):
    """5xx for a read, after all repeats."""

    meaning = "Amplitude had an error of its own."


class ConnectionFailedError(ManagementApiError):
    """No connection came about: nothing was sent, so nothing was changed."""

    meaning = "No connection to Amplitude; nothing was sent."


class NoAnswerError(ManagementApiError):
    """A read got no whole answer (a timeout, a cut connection), after all repeats. A read changes nothing."""

    meaning = "Amplitude gave no whole answer."


class UnexpectedResponseError(ManagementApiError):
    """The answer is not what the contract says."""

    meaning = "The answer is not one of the Management API."


class GatewayRefusalError(UnexpectedResponseError):
    """A 4xx with an HTML page: a gateway before the service refused the call, and the service never saw it."""

    meaning = "A gateway before Amplitude refused the call; nothing was changed."


class AmbiguousKeyError(ManagementApiError):
    """One key in several projects, and nothing said which project is meant."""

    meaning = "The key stands in more than one project; name the project_id."


class UncertainWriteError(ManagementApiError):
    """The write was sent, and nobody knows whether it was applied. Read before repeating it.

    ``maybe_in_flight`` tells that the service may still be at work on it: no answer came, or a gateway gave up on it.
    """

    meaning = "The change was sent, but it is unknown whether it was applied: read before repeating it."
    maybe_in_flight = True


BY_STATUS: dict[int, type[ManagementApiError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: AccessDeniedError,
    404: NotFoundError,
    405: UnsupportedError,
    429: RateLimitError,
}
