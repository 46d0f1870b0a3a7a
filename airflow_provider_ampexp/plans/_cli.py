"""``python -m airflow_provider_ampexp.plans``: check, forecast and backtest plan files, preview the next step."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.plans._arguments import Misuse, parse_defaults, parse_time, parser_of_commands
from airflow_provider_ampexp.plans._clients import CannotAskError, clients_of
from airflow_provider_ampexp.plans._errors import PlanFileError, PlanIssue
from airflow_provider_ampexp.plans._json_schema import schema_text
from airflow_provider_ampexp.plans._loader import LoadedPlan, plans_of_one_flag, read_plans
from airflow_provider_ampexp.plans._traffic import Traffic, traffic_of

RIGHT, WRONG, MISUSED = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    :returns: the exit code
    """
    given = parser_of_commands().parse_args(arguments)
    if given.what == "schema":
        print(schema_text(), end="")
        return RIGHT
    try:
        read = _read(given.paths, given.default)
        if given.what == "forecast":
            if given.conn_uri is not None and not given.dependencies:
                raise Misuse("--conn-uri: expected --dependencies with it, because nothing else reads Amplitude")
            start, finish_by = parse_time("--start", given.start), parse_time("--finish-by", given.finish_by)
            traffic = traffic_of(given.users, given.variation, given.traffic_sql, given.traffic_conn_id)
            return forecast(read, start, finish_by, traffic, dependencies=given.dependencies, conn_uri=given.conn_uri)
        if given.what == "backtest":
            since, until = parse_time("--since", given.since), parse_time("--until", given.until)
            if since and until and until <= since:
                raise Misuse(f"--until: expected a time after --since {given.since!r}, got {given.until!r}")
            return backtest(read, given.conn_uri, since, until, as_json=given.json)
        return check(read, ask=given.preflight) if given.what == "check" else plan(read, given.conn_uri)
    except Misuse as error:
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
    from airflow_provider_ampexp.plans._preflight import cannot_answer

    with _quiet_guardrails():
        return [mistake for plan in made if isinstance(plan, LoadedPlan) for mistake in cannot_answer(plan)]


@contextmanager
def _quiet_guardrails() -> Iterator[None]:
    """Suppress the log of a guardrail's traceback, because the output already has the error."""
    from airflow_provider_ampexp.guardrails import _run as run

    logger = logging.getLogger(run.__name__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def forecast(
    read: list[LoadedPlan | PlanFileError],
    start: datetime | None,
    finish_by: datetime | None,
    traffic: Traffic | None = None,
    *,
    dependencies: bool = False,
    conn_uri: str | None = None,
) -> int:
    """Print the earliest time of each stage and of the end, if all guardrails pass and approvals come at once.

    :param start: the begin of the rollouts; if not given, now
    :param finish_by: the time by which the rollouts must be complete
    :param traffic: used to show the harm that a holdback guardrail finds
    :param dependencies: true to read the flags, and to name rollouts that are ahead of a flag that they depend on
    """
    from airflow_provider_ampexp.plans._dependencies import ahead_of_parents
    from airflow_provider_ampexp.plans._forecast import forecast_file, shown

    made, result, start = [_with_dag(loaded) for loaded in read], RIGHT, start or datetime.now(timezone.utc)
    forecasts = []
    for loaded in made:
        print(loaded if isinstance(loaded, PlanFileError) else loaded.file)
        if isinstance(loaded, PlanFileError):
            result = WRONG
            continue
        try:
            course = forecast_file(loaded, start, traffic)
        except InvalidInputError as error:
            print(loaded.refused(error))
            result = WRONG
            continue
        forecasts.append(course)
        for line in course.lines:
            print(f"  {line}")
        if finish_by is not None and course.finish > finish_by:
            print(
                f"  too late: expected the end of the rollout by {shown(finish_by, loaded.plan.rollout_plan().window)}"
            )
            result = WRONG
    conflicts: list[object] = list(plans_of_one_flag(made))
    if dependencies:
        try:
            with clients_of(made, conn_uri) as clients:
                conflicts += ahead_of_parents(forecasts, clients)
        except CannotAskError as error:
            conflicts.append(f"The dependencies were not compared: {error}")
    for conflict in conflicts:
        print(conflict)
    print(
        "The times are the earliest ones: each guardrail passes, each approval comes at once, and no person intervenes."
    )
    return WRONG if conflicts else result


def plan(read: list[LoadedPlan | PlanFileError], conn_uri: str | None) -> int:
    """Print the state of each flag and the next step. This writes nothing."""
    from airflow_provider_ampexp.plans._dry_run import outlook

    made, result, writes = [_with_dag(loaded) for loaded in read], RIGHT, 0
    with clients_of(made, conn_uri) as clients:
        for loaded in _rollouts(made):
            if isinstance(loaded, PlanFileError):
                print(loaded)
                result = WRONG
                continue
            print(loaded.file)
            try:
                seen = clients.ask(loaded, partial(outlook, loaded.plan))
            except CannotAskError as error:
                print(f"  {error}")
                result = WRONG
                continue
            print(f"  now:  {seen.stands}\n  next: {seen.next}")
            writes += seen.would_change
    print(f"{_count(made, 'file')} read, nothing was written; {writes} would change a flag now.")
    return result


def backtest(
    read: list[LoadedPlan | PlanFileError],
    conn_uri: str | None,
    since: datetime | None,
    until: datetime | None,
    *,
    as_json: bool,
) -> int:
    """Print the stages at which the guardrails of each file would have stopped past releases. This writes nothing.

    :param since: the first raise of a release is at this time or later; if not given, all releases
    :param until: the end of the period; if not given, now
    """
    from airflow_provider_ampexp.plans._backtest import as_plain, backtest_file, check_queries, lines, total

    made, result, done = [_with_dag(loaded) for loaded in read], RIGHT, []
    with clients_of(made, conn_uri) as clients, _quiet_guardrails():
        for loaded in _rollouts(made):
            if isinstance(loaded, PlanFileError):
                print(loaded, file=sys.stderr)
                result = WRONG
                continue
            try:
                check_queries(loaded)
                done.append(clients.ask(loaded, partial(backtest_file, loaded, (since, until))))
            except (PlanFileError, CannotAskError) as error:
                print(error if isinstance(error, PlanFileError) else f"{loaded.file}: {error}", file=sys.stderr)
                result = WRONG
    if as_json:
        print(json.dumps(as_plain(done), indent=2, ensure_ascii=False))
        return result
    for line in (line for loaded in done for line in lines(loaded)):
        print(line)
    print(total(done))
    return result


def _rollouts(made: Iterable[LoadedPlan | PlanFileError]) -> Iterator[LoadedPlan | PlanFileError]:
    """Yield each rollout of the files: a coordinated release has one for each flag and region."""
    for loaded in made:
        yield from loaded.rollouts if isinstance(loaded, LoadedPlan) else [loaded]


def _with_dag(loaded: LoadedPlan | PlanFileError) -> LoadedPlan | PlanFileError:
    from airflow_provider_ampexp.plans._dag_factory import rollout_dag

    if isinstance(loaded, PlanFileError):
        return loaded
    try:
        rollout_dag(loaded)
    except PlanFileError as error:
        return error
    return loaded


def _read(paths: list[Path], defaults: list[str]) -> list[LoadedPlan | PlanFileError]:
    try:
        read = read_plans(paths, parse_defaults(defaults))
    except NotADirectoryError as error:
        raise Misuse(str(error)) from None
    except InvalidInputError as error:
        raise Misuse(f"--default {error}") from None
    if not read:
        raise Misuse(f"no *.yaml or *.yml files in {', '.join(map(str, paths))}")
    return read


def _count(found: Iterable[object], noun: str) -> str:
    number = len(list(found))
    return f"{number} {noun}{'' if number == 1 else 's'}"
