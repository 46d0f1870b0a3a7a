"""The command: ``python -m airflow_provider_ampexp.watchdog FOLDER``."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import timedelta

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import REGIONS, InvalidInputError
from airflow_provider_ampexp.rollout._duration import parse_duration
from airflow_provider_ampexp.watchdog._heartbeat_files import FolderError, read_heartbeats
from airflow_provider_ampexp.watchdog._verdict import Limits, Outcome, worst

KEY = "AMPLITUDE_EXPERIMENT_KEY"
"""The environment variable with the management key."""
SHORTEST = timedelta(minutes=20)
"""The shortest time by which a step must be late. The retries of a task take 16 minutes."""

_RETRY_FOR = 30.0  # seconds: the next pass tries again


def main(arguments: list[str] | None = None) -> int:
    """Run one pass.

    :returns: the exit code, the value of an :class:`Outcome`
    """
    given = _parser().parse_args(arguments)
    key = os.environ.get(KEY, "").strip()
    try:
        if (problem := validate.key_problem(key)) is not None:
            raise InvalidInputError(KEY, problem)
        if not given.folder.strip():
            raise InvalidInputError("folder", "expected a folder, got an empty text")
        limits = Limits(_after(given.after), validate.percentage("--above", given.above))
        from airflow_provider_ampexp.client import ManagementClient

        client = ManagementClient(key, region=given.region, base_url=given.base_url, retry_for=_RETRY_FOR)
    except InvalidInputError as error:
        print(f"Watchdog failed: {error}. Nothing was read.", file=sys.stderr)
        return Outcome.MISUSED.value
    finally:
        del key  # a traceback may show local variables
    from airflow_provider_ampexp.watchdog._watch import Watchdog

    outcomes = []
    with client:
        try:
            for outcome, said in Watchdog(client, limits, is_dry=given.dry_run).findings(read_heartbeats(given.folder)):
                outcomes.append(outcome)
                _report(said)
        except FolderError as error:
            outcomes.append(Outcome.UNKNOWN)
            _report(f"Reading {given.folder} failed: {error}. No flag is watched. Check that the folder is mounted.")
    if not outcomes:
        outcomes.append(Outcome.UNKNOWN)
        _report(
            f"Reading {given.folder} failed: it has no heartbeat. No flag is watched. Check that the folder is mounted."
        )
    return worst(outcomes).value


def _report(said: str) -> None:
    """Print a line. A full disk or an old encoding does not stop the watchdog, which continues with the next flag."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(said.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process


def _after(text: str) -> timedelta:
    after = parse_duration("--after", text)
    if after < SHORTEST:
        raise InvalidInputError(
            "--after", f"expected at least 20m, because a task retries for 16 minutes, got {text!r}"
        )
    return after


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_ampexp.watchdog",
        description="Lower the flags whose rollouts no longer run to their last confirmed stage. One pass; run it "
        f"each few minutes from cron. The key is in the environment variable {KEY}.",
        epilog="Exit codes: 0 nothing to do; 1 lowered; 2 wrong arguments; 3 a step is late; 4 a heartbeat or a flag "
        "cannot be read; 5 a flag had to be lowered, and that is not confirmed.",
    )
    parser.add_argument("folder", help="the heartbeat_path of the rollouts: a local folder, or a store such as s3://")
    parser.add_argument(
        "--after", default="1h", metavar="TIME", help="how late a step must be, such as 45m or 2h (default: 1h)"
    )
    parser.add_argument(
        "--above", type=int, default=0, metavar="PERCENT", help="leave flags at this percentage or below (default: 0)"
    )
    parser.add_argument("--region", choices=sorted(REGIONS), default="us", help="the region of the data (default: us)")
    parser.add_argument("--base-url", metavar="URL", help="the address of the service, in place of the region's")
    parser.add_argument("--dry-run", action="store_true", help="report what would be lowered, and change nothing")
    return parser
