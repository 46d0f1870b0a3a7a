"""Which connections of the type ``amplitude_experiment`` this Airflow knows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.models import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_ampexp.hooks.connection import ConnectionFields

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECTION_TYPE = "amplitude_experiment"
_VARIABLE = "AIRFLOW_CONN_"


def known_connections(named_elsewhere: Iterable[str] = ()) -> list[str]:
    """Their ids: those in the metadata database, those in this server's environment, and of the ones that tasks name.

    A secrets backend cannot be asked for a list, so what is only there is found once a rollout has used it.
    """
    with create_session() as session:
        found = set(session.scalars(select(Connection.conn_id).where(Connection.conn_type == CONNECTION_TYPE)))
    in_environment = {name[len(_VARIABLE) :].lower() for name in os.environ if name.startswith(_VARIABLE)}
    found |= {one for one in in_environment | set(named_elsewhere) if one not in found and _is_ours(one)}
    return sorted(found)


def fields_of(connection_id: str) -> ConnectionFields:
    """What the connection says.

    :raises LookupError: when there is none of this type; a key of another service is never sent to Amplitude
    """
    connection = _find(connection_id)
    if connection is None or connection.conn_type != CONNECTION_TYPE:
        raise LookupError(f"There is no connection {connection_id!r} of the type {CONNECTION_TYPE}.")
    return ConnectionFields.of(connection)


def _is_ours(connection_id: str) -> bool:
    connection = _find(connection_id)
    return connection is not None and connection.conn_type == CONNECTION_TYPE


def _find(connection_id: str) -> Connection | None:
    try:
        return Connection.get_connection_from_secrets(connection_id)
    except (AirflowNotFoundException, ValueError):
        return None
