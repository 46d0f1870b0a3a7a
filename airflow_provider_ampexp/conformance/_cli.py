"""The command: ``python -m airflow_provider_ampexp.conformance --key-from-connection ID --project P``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import requests

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import REGIONS, InvalidInputError
from airflow_provider_ampexp.conformance._questions import QUESTIONS
from airflow_provider_ampexp.conformance._report import ask_all
from airflow_provider_ampexp.conformance._scratch import PREFIX, Scratch

SAME, DIFFERENT, MISUSED = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run the suite.

    :returns: 0 without differences, 1 with differences, 2 when the suite could not run
    """
    given = _parser().parse_args(arguments)
    from airflow.sdk.exceptions import AirflowNotFoundException

    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

    try:
        fields = AmplitudeExperimentHook(given.key_from_connection).fields
        validate.text("--project", given.project)
        _check_writable(given.out)
    except (AirflowNotFoundException, InvalidInputError) as error:
        print(f"Conformance suite failed: {error}. Nothing was sent.", file=sys.stderr)
        return MISUSED
    base_url = fields.base_url or REGIONS[fields.region]
    with Scratch(base_url, fields.key, given.project, timeout=fields.timeout) as scratch:
        try:
            cause = _refused(base_url, given.project, scratch.get("/flags", projectId=given.project, limit="1").status)
        except requests.RequestException as error:
            cause = f"no response from {base_url} ({type(error).__name__})"
        if cause is not None:
            print(f"Conformance suite failed: {cause}. Nothing was created.", file=sys.stderr)
            return MISUSED
        report = ask_all(scratch, progress=print)
    print(f"\n{report.text()}", end="")
    if given.out is not None:
        given.out.write_text(report.text(), "utf-8")
        print(f"Wrote {given.out}. Attach it to an issue.")
    return DIFFERENT if report.differences else SAME


def _refused(base_url: str, project: str, status: int) -> str | None:
    """Return why the suite cannot run; ``None`` if it can."""
    if status == 200:
        return None
    if status in (403, 404):
        return f"--project: the key has no access to project {project!r} of {base_url} ({status})"
    if status == 401:
        return f"{base_url} does not accept the key"
    return f"{base_url} answered {status} to the first request"


def _check_writable(out: Path | None) -> None:
    """Raise if the report cannot be written, before the suite sends some 300 requests."""
    if out is None:
        return
    try:
        out.open("a").close()
    except OSError as error:
        raise InvalidInputError("--out", f"cannot write {str(out)!r} ({error.strerror})") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_ampexp.conformance",
        description=f"Ask {len(QUESTIONS)} questions about the service, and print where it differs from the emulator. "
        f"Creates flags and experiments whose keys begin with {PREFIX!r}, changes no other object, and archives them "
        "at the end. Use a scratch project.",
    )
    parser.add_argument(
        "--key-from-connection", required=True, metavar="CONN_ID", help="the Airflow connection with the key"
    )
    parser.add_argument("--project", required=True, metavar="ID", help="the scratch project")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the differences to a file, for an issue")
    return parser
