"""The clients of the commands for plan files: one for each connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.plans._arguments import Misuse
from airflow_provider_ampexp.plans._errors import PlanFileError
from airflow_provider_ampexp.plans._loader import LoadedPlan

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.hooks._connection import ConnectionFields

_RETRY_FOR = 10.0  # seconds: a person waits for the result
_Found = TypeVar("_Found")


class CannotAskError(Exception):
    """A connection is missing, or Amplitude cannot be read."""


@contextmanager
def clients_of(made: Iterable[LoadedPlan | PlanFileError], conn_uri: str | None) -> Iterator[Clients]:
    """Yield the clients of these files, and close them.

    :param conn_uri: a connection that replaces the one of the files
    :raises Misuse: when the files name more than one connection, and ``conn_uri`` is given
    """
    rollouts = (rollout for loaded in made if isinstance(loaded, LoadedPlan) for rollout in loaded.rollouts)
    named = sorted({rollout.plan.connection for rollout in rollouts})
    if conn_uri is not None and len(named) > 1:
        raise Misuse(
            f"--conn-uri is one connection, but the files name {', '.join(named)}; "
            "set AIRFLOW_CONN_<ID> for each, or pass only the files of one"
        )
    with ExitStack() as stack:
        yield Clients(_connection(conn_uri, *named[:1]) if conn_uri is not None else None, stack)


class Clients:
    """A client for each connection. The command closes them at its end."""

    def __init__(self, given: Connection | None, stack: ExitStack) -> None:
        self._given = given
        self._stack = stack
        self._known: dict[str, tuple[ManagementClient, str | None]] = {}

    def of(self, conn_id: str) -> tuple[ManagementClient, str | None]:
        """Return the client, and the connection's project."""
        if conn_id not in self._known:
            fields = self._fields(conn_id)
            client = self._stack.enter_context(fields.connect(retry_for=min(fields.retry_for, _RETRY_FOR)))
            self._known[conn_id] = client, fields.project_id
        return self._known[conn_id]

    def ask(self, loaded: LoadedPlan, question: Callable[[ManagementClient, str | None], _Found]) -> _Found:
        """Ask Amplitude about the flag of a file.

        :raises CannotAskError: when there is no answer
        """
        from airflow.sdk.exceptions import AirflowNotFoundException

        from airflow_provider_ampexp.ensure._errors import EnsureError

        name = loaded.plan.connection
        try:
            return question(*self.of(name))
        except AirflowNotFoundException:
            raise CannotAskError(
                f"connection {name!r} not found: set --conn-uri or AIRFLOW_CONN_{name.upper()}"
            ) from None
        except (InvalidInputError, ManagementApiError, EnsureError) as error:
            raise CannotAskError(f"failed: {error}") from None

    def _fields(self, conn_id: str) -> ConnectionFields:
        from airflow.sdk.exceptions import AirflowNotFoundException

        from airflow_provider_ampexp.hooks._connection import ConnectionFields
        from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

        if self._given is not None:
            return ConnectionFields.of(self._given)
        try:
            return AmplitudeExperimentHook(conn_id).fields
        except AirflowNotFoundException:
            stored = _stored_connection(conn_id)
            if stored is None:
                raise
            return ConnectionFields.of(stored)


def _stored_connection(conn_id: str) -> Any:
    """Return the connection from Airflow's database; ``None`` without the connection or the database.

    Outside of a task, Airflow's SDK only reads the environment and secrets backends.
    """
    from airflow.secrets.metastore import MetastoreBackend

    try:
        return MetastoreBackend().get_connection(conn_id)
    except Exception:  # no database, or a database without Airflow's tables
        return None


def _connection(uri: str, conn_id: str = "") -> Connection:
    from airflow.sdk import Connection

    try:
        connection = Connection.from_uri(uri, conn_id=conn_id)
    except Exception:  # the exception would show the URI with the key
        connection = None
    if connection is None or connection.conn_type != "amplitude_experiment":
        raise Misuse("--conn-uri: expected amplitude-experiment://:ampex_...@/?region=eu&project_id=217854")
    return connection
