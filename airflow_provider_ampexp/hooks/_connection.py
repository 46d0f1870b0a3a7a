"""Read and validate the fields of an Airflow connection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.hooks._metrics import count_in_a_task

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_ampexp.client import ManagementClient


CONNECTION_TYPE = "amplitude_experiment"
_EXTRAS = ("region", "project_id", "base_url", "timeout", "retry_for")
# Airflow's fields for an address, and the extra to use instead. The field `login` is ignored, because people keep the
# owner of the key in it.
_UNUSED = {"host": "the extra base_url", "schema": "the extra project_id", "port": "the extra base_url"}
_OTHER_NAMES = {
    "url": "base_url",
    "host": "base_url",
    "endpoint": "base_url",
    "project": "project_id",
    "key": "password",
    "apikey": "password",
    "token": "password",
}


@dataclass(frozen=True)
class ConnectionFields:
    """The validated fields of a connection. ``repr`` does not show the key."""

    key: str
    region: str
    base_url: str | None
    project_id: str | None
    timeout: float
    retry_for: float

    @classmethod
    def of(cls, connection: Connection) -> ConnectionFields:
        """Read the fields of a connection from the web form, a URI or JSON.

        A connection of another type is an error, because its password is for another service. An unknown field is an
        error, because with a misspelt ``base_url`` all requests would go to production.

        :raises InvalidInputError: when a field is invalid; the error names the field and the connection, never the key
        """
        conn_id, conn_type = connection.conn_id, connection.conn_type or ""
        if conn_type.replace("-", "_") != CONNECTION_TYPE:
            del connection
            is_now = f"has type {conn_type!r}" if conn_type else "has no type"
            raise InvalidInputError("conn_type", f"connection {conn_id!r} {is_now}, expected {CONNECTION_TYPE!r}")
        try:
            extra = _extra(connection.extra)
            _refuse_what_is_not_read(connection, extra)
            region = (_text(extra, "region") or "us").lower()
            base_url = _text(extra, "base_url")
            validate.region(region)
            if base_url is not None and (wrong := validate.base_url_problem(base_url)) is not None:
                raise InvalidInputError("base_url", wrong)
            if (wrong := validate.key_problem((connection.password or "").strip())) is not None:
                raise InvalidInputError("password", wrong)
            return cls(
                key=(connection.password or "").strip(),
                region=region,
                base_url=base_url,
                project_id=_text(extra, "project_id"),
                timeout=validate.timeout("timeout", _seconds(extra, "timeout", 30.0)),
                retry_for=_seconds(extra, "retry_for", 120.0),
            )
        except InvalidInputError as error:
            field, problem = error.field, f"{error.problem} (connection {conn_id!r})"
        # A traceback may show local variables, and Airflow's connection shows its password.
        del connection
        raise InvalidInputError(field, problem)

    def connect(self, *, timeout: float | None = None, retry_for: float | None = None) -> ManagementClient:
        """Create a client, which the caller closes. The arguments replace the values of the connection."""
        from airflow_provider_ampexp.client import ManagementClient

        client = ManagementClient(
            self.key,
            region=self.region,
            base_url=self.base_url,
            timeout=self.timeout if timeout is None else timeout,
            retry_for=self.retry_for if retry_for is None else retry_for,
        )
        client.requests.on_each = count_in_a_task
        return client

    def __repr__(self) -> str:
        return f"<ConnectionFields {self.base_url or self.region}>"


def _refuse_what_is_not_read(connection: Connection, extra: Mapping[str, Any]) -> None:
    for field, instead in _UNUSED.items():
        if getattr(connection, field, None):
            raise InvalidInputError(field, f"unknown field; use {instead}")
    # A URI such as amplitude-experiment://ampex_...@/ has the key as its login, without a password.
    if (connection.login or "").startswith("ampex_"):
        raise InvalidInputError("login", "expected the key as the password, got it as the login")
    for name, value in extra.items():
        if name not in _EXTRAS:
            if value not in (None, ""):
                raise InvalidInputError(name, f"unknown extra; {_suggestion(name)}")
        elif isinstance(value, str) and not value.strip():
            # Airflow's form stores null for an empty field. An empty text often comes from an unset variable.
            raise InvalidInputError(name, "must not be empty; remove it, or give it a value")


def _suggestion(name: str) -> str:
    """Return a hint: the known field with the nearest name, otherwise the names of all extras."""
    plain = _plain(name.removeprefix(f"extra__{CONNECTION_TYPE}__"))
    by_plain = {**_OTHER_NAMES, **{_plain(extra): extra for extra in _EXTRAS}}
    import difflib  # only for a mistake

    nearest = difflib.get_close_matches(plain, by_plain, n=1)
    return f"did you mean {by_plain[nearest[0]]}?" if nearest else f"expected one of {', '.join(_EXTRAS)}"


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _extra(text: str | None) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        extra = json.loads(text)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise InvalidInputError("extra", "not a JSON object")
    return extra


def _text(extra: Mapping[str, Any], field: str) -> str | None:
    value = extra.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidInputError(field, f"expected a text, got {value!r}")
    return str(value).strip()


def _seconds(extra: Mapping[str, Any], field: str, default: float) -> float:
    value = extra.get(field)
    if value is None:
        return default
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise InvalidInputError(field, f"expected a number of seconds, got {value!r}") from None
    return validate.seconds(field, value)
