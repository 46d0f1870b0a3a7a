"""What an Airflow connection says: its fields as the client wants them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.client import InvalidInputError, checks
from airflow_provider_ampexp.hooks.metrics import count_in_a_task

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_ampexp.client import ManagementClient


@dataclass(frozen=True)
class ConnectionFields:
    """The fields of a connection, checked. ``repr`` does not show the key."""

    key: str
    region: str
    base_url: str | None
    project_id: str | None
    timeout: float
    retry_for: float

    @classmethod
    def of(cls, connection: Connection) -> ConnectionFields:
        """Read them. The web form, a URI and JSON each spell numbers and empty fields in their own way.

        :raises InvalidInputError: names the field and the connection, never the key
        """
        try:
            extra = _extra(connection.extra)
            region = (_text(extra, "region") or "us").lower()
            base_url = _text(extra, "base_url")
            checks.region(region)
            if base_url is not None and (wrong := checks.base_url_problem(base_url)) is not None:
                raise InvalidInputError("base_url", wrong)
            if (wrong := checks.key_problem((connection.password or "").strip())) is not None:
                raise InvalidInputError("password", wrong)
            return cls(
                key=(connection.password or "").strip(),
                region=region,
                base_url=base_url,
                project_id=_text(extra, "project_id"),
                timeout=checks.timeout("timeout", _seconds(extra, "timeout", 30.0)),
                retry_for=_seconds(extra, "retry_for", 120.0),
            )
        except InvalidInputError as error:
            field, problem = error.field, f"{error.problem} (connection {connection.conn_id!r})"
        # A traceback may show local variables, and a connection of Airflow shows its password.
        del connection
        raise InvalidInputError(field, problem)

    def connect(self, *, timeout: float | None = None, retry_for: float | None = None) -> ManagementClient:
        """A client of one's own, which the caller closes. The arguments override the connection's."""
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
        raise InvalidInputError(field, f"{value!r} is not a text")
    return str(value).strip() or None


def _seconds(extra: Mapping[str, Any], field: str, default: float) -> float:
    value = extra.get(field)
    if value is None or value == "":
        return default
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise InvalidInputError(field, f"{value!r} is not a number of seconds") from None
    return checks.seconds(field, value)
