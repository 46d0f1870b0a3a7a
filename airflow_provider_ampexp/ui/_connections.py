"""Which connections of the type ``amplitude_experiment`` this Airflow knows."""

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
    """Return their ids: those in the metadata database, those in this server's environment, and those of rollouts.

    No secrets backend is asked: it cannot list connections, and asking it for each name would fetch the passwords of
    other services. A connection that only a backend knows is found when a rollout has used it.
    """
    with create_session() as session:
        types = dict(session.execute(select(Connection.conn_id, Connection.conn_type)).tuples().all())
    in_environment = {name[len(_VARIABLE) :].lower(): text for name, text in os.environ.items() if _is_connection(name)}
    found = {name for name, text in in_environment.items() if _type_of(text) == CONNECTION_TYPE}
    found |= {name for name, conn_type in types.items() if conn_type == CONNECTION_TYPE and name not in in_environment}
    found |= {name for name in named_by_rollouts if name not in types and name.lower() not in in_environment}
    return sorted(found)


def fields_of(connection_id: str) -> ConnectionFields:
    """Return what the connection says.

    :raises LookupError: when there is none of this type; a key of another service is never sent to Amplitude
    """
    connection = _find(connection_id)
    if connection is None or connection.conn_type != CONNECTION_TYPE:
        raise LookupError(
            f"Reading Amplitude failed: no connection {connection_id!r} of the type {CONNECTION_TYPE}. Add it."
        )
    return ConnectionFields.of(connection)


def _is_connection(name: str) -> bool:
    return name.startswith(_VARIABLE)


def _type_of(text: str) -> str | None:
    """The type of a connection as the environment spells it, in JSON or as a URI; the password is not looked at."""
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
