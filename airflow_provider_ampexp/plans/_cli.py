"""``python -m airflow_provider_ampexp.plans``: check and forecast plan files, preview the next step."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.client._errors import ManagementApiError
from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.plans._errors import PlanFileError, PlanIssue
from airflow_provider_ampexp.plans._json_schema import schema_text
from airflow_provider_ampexp.plans._loader import LoadedPlan, plans_of_one_flag, read_plans
from airflow_provider_ampexp.plans._yaml import YamlDocument, YamlError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.hooks._connection import ConnectionFields

RIGHT, WRONG, MISUSED = 0, 1, 2
_RETRY_FOR = 10.0  # seconds: a person waits for the result
_EPILOG = "The exit code is 0 without mistakes, 1 with a mistake in a file or a flag, and 2 without files."


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    :returns: the exit code
    """
    given = _parser().parse_args(arguments)
    if given.what == "schema":
        print(schema_text(), end="")
        return RIGHT
    try:
        read = _read(given.paths, given.default)
        if given.what == "forecast":
            return forecast(
                read, _time("--start", given.start), _time("--finish-by", given.finish_by), given.users, given.variation
            )
        return check(read, ask=given.preflight) if given.what == "check" else plan(read, given.conn_uri)
    except _Misuse as error:
        print(error, file=sys.stderr)
        return MISUSED


def check(read: Iterable[LoadedPlan | PlanFileError], *, ask: bool = False) -> int:
    """Print each mistake on one line. This also creates the DAGs, because Airflow validates them.

    :param ask: true to also run the SQL guardrails, with the connections of this machine
    """
    made = [_with_dag(plan) for plan in read]
    mistakes = [mistake for plan in made if isinstance(plan, PlanFileError) for mistake in plan.mistakes]
    mistakes += plans_of_one_flag(made)
    if ask:
        mistakes += _unable(made)
    for mistake in mistakes:
        print(mistake)
    wrong = len({mistake.file for mistake in mistakes})
    if wrong:
        print(f"{_count(mistakes, 'mistake')} in {wrong} of {_count(made, 'file')}.")
        return WRONG
    print(f"{_count(made, 'file')} checked, no mistakes.")
    return RIGHT


def _unable(made: Iterable[LoadedPlan | PlanFileError]) -> list[PlanIssue]:
    from airflow_provider_ampexp.guardrails import _run as run
    from airflow_provider_ampexp.plans._preflight import cannot_answer

    logger = logging.getLogger(run.__name__)
    level = logger.level
    logger.setLevel(logging.ERROR)  # the output already has the mistakes, without a traceback
    try:
        return [mistake for plan in made if isinstance(plan, LoadedPlan) for mistake in cannot_answer(plan)]
    finally:
        logger.setLevel(level)


def forecast(
    read: list[LoadedPlan | PlanFileError],
    start: datetime | None,
    finish_by: datetime | None,
    users: float | None = None,
    variation: float = 1.0,
) -> int:
    """Print the earliest time of each stage and of the end, if all guardrails pass and approvals come at once.

    :param start: when the rollouts begin; if not given, now
    :param finish_by: when they have to be complete
    :param users: the users who are active during one soak, to show which harm a holdback guardrail finds
    :param variation: the metric's standard deviation divided by its mean
    """
    from airflow_provider_ampexp.plans._forecast import Traffic, forecast_file, shown

    traffic = None if users is None else Traffic(users, variation)

    made, result, start = [_with_dag(one) for one in read], RIGHT, start or datetime.now(timezone.utc)
    for one in made:
        print(one if isinstance(one, PlanFileError) else one.file)
        if isinstance(one, PlanFileError):
            result = WRONG
            continue
        try:
            course = forecast_file(one, start, traffic)
        except InvalidInputError as error:
            print(one.refused(error))
            result = WRONG
            continue
        for line in course.lines:
            print(f"  {line}")
        if finish_by is not None and course.finish > finish_by:
            print(f"  too late: expected the finish by {shown(finish_by, one.plan.rollout_plan().window)}")
            result = WRONG
    for mistake in (conflicts := list(plans_of_one_flag(made))):
        print(mistake)
    print(
        "The times are the earliest ones: each guardrail passes, each approval comes at once, and no person intervenes."
    )
    return WRONG if conflicts else result


def plan(read: list[LoadedPlan | PlanFileError], conn_uri: str | None) -> int:
    """Print the state of each flag and the next step. This writes nothing."""
    made, result, writes = [_with_dag(one) for one in read], RIGHT, 0
    named = sorted({one.plan.connection for one in made if isinstance(one, LoadedPlan)})
    if conn_uri is not None and len(named) > 1:
        raise _Misuse(
            f"--conn-uri is one connection, but the files name {', '.join(named)}; "
            "set AIRFLOW_CONN_<ID> for each, or pass only the files of one"
        )
    with ExitStack() as stack:
        clients = _Clients(_connection(conn_uri, *named[:1]) if conn_uri is not None else None, stack)
        for one in made:
            if isinstance(one, PlanFileError):
                print(one)
                result = WRONG
                continue
            said, is_right, would_write = _outlook(one, clients)
            print(f"{one.file}\n{said}")
            result, writes = result if is_right else WRONG, writes + would_write
    print(f"{_count(made, 'file')} read, nothing was written; {writes} would change a flag now.")
    return result


def _outlook(one: LoadedPlan, clients: _Clients) -> tuple[str, bool, bool]:
    """Return the text for one file, true if it has no error, and true if the rollout would write now."""
    from airflow.sdk.exceptions import AirflowNotFoundException

    from airflow_provider_ampexp.ensure._errors import EnsureError
    from airflow_provider_ampexp.plans._dry_run import outlook

    try:
        client, project_id = clients.of(one.plan.connection)
        seen = outlook(one.plan, client, project_id)
    except AirflowNotFoundException:
        name = one.plan.connection
        return f"  connection {name!r} not found: set --conn-uri or AIRFLOW_CONN_{name.upper()}", False, False
    except (InvalidInputError, ManagementApiError, EnsureError) as error:
        return f"  failed: {error}", False, False
    return f"  now:  {seen.stands}\n  next: {seen.next}", True, seen.would_change


class _Clients:
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
        raise _Misuse("--conn-uri: expected amplitude-experiment://:ampex_...@/?region=eu&project_id=217854")
    return connection


def _with_dag(one: LoadedPlan | PlanFileError) -> LoadedPlan | PlanFileError:
    from airflow_provider_ampexp.plans._dag_factory import rollout_dag

    if isinstance(one, PlanFileError):
        return one
    try:
        rollout_dag(one)
    except PlanFileError as error:
        return error
    return one


def _read(paths: list[Path], defaults: list[str]) -> list[LoadedPlan | PlanFileError]:
    try:
        read = read_plans(paths, _defaults(defaults))
    except NotADirectoryError as error:
        raise _Misuse(str(error)) from None
    except InvalidInputError as error:
        raise _Misuse(f"--default {error}") from None
    if not read:
        raise _Misuse(f"no *.yaml or *.yml files in {', '.join(map(str, paths))}")
    return read


def _time(option: str, text: str | None) -> datetime | None:
    moment = parse_timestamp(text)
    if text is not None and moment is None:
        raise _Misuse(f"{option}: expected a time such as 2026-12-01T09:00:00Z, got {text!r}")
    return moment


def _above_0(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def _defaults(given: list[str]) -> dict[str, object]:
    """Parse arguments such as ``soak=12h``, with the syntax of a file."""
    defaults = {}
    for one in given:
        name, is_given, value = one.partition("=")
        try:
            if not is_given:
                raise ValueError
            defaults[name.strip()] = YamlDocument(value.encode()).value
        except (ValueError, YamlError):
            raise _Misuse(f"--default: expected a field such as soak=12h, got {one!r}") from None
    return defaults


def _count(found: Iterable[object], noun: str) -> str:
    number = len(list(found))
    return f"{number} {noun}{'' if number == 1 else 's'}"


class _Misuse(Exception):
    """The command line is invalid."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_ampexp.plans", description="Commands for plan files.", epilog=_EPILOG
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="{check,forecast,plan,schema}")
    for name, words in (
        ("check", "print each mistake by file, line and field"),
        ("forecast", "show the earliest time of each stage and of the end, without a request"),
        ("plan", "show the next change in Amplitude, without writing"),
    ):
        one = commands.add_parser(name, help=words, description=f"{words.capitalize()}.", epilog=_EPILOG)
        one.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a folder of plan files, or a file")
        one.add_argument(
            "--default",
            action="append",
            default=[],
            metavar="FIELD=VALUE",
            help="a default for all files, as in rollout_dags(..., field=value)",
        )
        if name == "check":
            one.add_argument(
                "--preflight",
                action="store_true",
                help="run each SQL guardrail once, with the connections of this machine (AIRFLOW_CONN_<ID>)",
            )
        if name == "forecast":
            one.add_argument("--start", metavar="TIME", help="when the rollouts begin (default: now)")
            one.add_argument(
                "--users",
                type=_above_0,
                metavar="N",
                help="the users who are active during one soak: also show the smallest harm that a holdback guardrail "
                "finds at each stage, with a probability of 0.8",
            )
            one.add_argument(
                "--variation",
                type=_above_0,
                default=1.0,
                metavar="CV",
                help="the metric's standard deviation divided by its mean; 3 for a conversion of 10 %% (default: 1)",
            )
            one.add_argument("--finish-by", metavar="TIME", help="exit with 1 if a rollout cannot be complete by then")
        if name == "plan":
            one.add_argument(
                "--conn-uri",
                metavar="URI",
                help="a connection URI that replaces the connection of the files. Other users can see the command line "
                "of a process, but not AIRFLOW_CONN_<ID> in its environment.",
            )
    commands.add_parser("schema", help="print the JSON Schema for editors")
    return parser
