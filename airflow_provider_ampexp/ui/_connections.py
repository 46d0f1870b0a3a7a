"""The connections of the type ``amplitude_experiment`` in this Airflow."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from airflow.models import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_ampexp.hooks._connection import CONNECTION_TYPE, ConnectionFields

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARIABLE = "AIRFLOW_CONN_"


def known_connections(named_by_rollouts: Iterable[str] = ()) -> list[str]:
    """Return the ids of the connections in the metadata database, in this server's environment, and of rollouts.

    A secrets backend is not read: it cannot list connections, and a read of each name would fetch the passwords of
    other services. So a connection that is only in a backend is found after its first rollout.

    :param named_by_rollouts: the ids of the connections of rollouts
    """
    with create_session() as session:
        types = dict(session.execute(select(Connection.conn_id, Connection.conn_type)).tuples().all())
    in_environment = {name[len(_VARIABLE) :].lower(): text for name, text in os.environ.items() if _is_connection(name)}
    found = {name for name, text in in_environment.items() if _type_of(text) == CONNECTION_TYPE}
    found |= {name for name, conn_type in types.items() if conn_type == CONNECTION_TYPE and name not in in_environment}
    found |= {name for name in named_by_rollouts if name not in types and name.lower() not in in_environment}
    return sorted(found)


def fields_of(connection_id: str) -> ConnectionFields:
    """Return the fields of a connection.

    :raises LookupError: when no connection of this type has the id. A key of another service is never sent.
    """
    connection = _find(connection_id)
    if connection is None or connection.conn_type != CONNECTION_TYPE:
        raise LookupError(
            f"Reading Amplitude failed: no connection {connection_id!r} of the type {CONNECTION_TYPE}. "
            "Nothing was read. Add the connection."
        )
    return ConnectionFields.of(connection)


def _is_connection(name: str) -> bool:
    return name.startswith(_VARIABLE)


def _type_of(text: str) -> str | None:
    """Return the type of a connection in the environment, from its JSON or URI. The password is not read."""
    try:
        fields = json.loads(text) if text.lstrip().startswith("{") else {"conn_type": text.partition("://")[0]}
    except ValueError:
        return None
    conn_type = fields.get("conn_type") if isinstance(fields, dict) else None
    return conn_type.replace("-", "_").lower() if isinstance(conn_type, str) else None


def _find(connection_id: str) -> Connection | None:
    try:
        return Connection.get_connection_from_secrets(connection_id)
    except (AirflowNotFoundException, ValueError):
        return None
