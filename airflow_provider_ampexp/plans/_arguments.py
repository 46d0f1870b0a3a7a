"""The arguments of the commands for plan files."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.plans._yaml import YamlDocument, YamlError

_EPILOG = "The exit code is 0 without mistakes, 1 with a mistake in a file or a flag, and 2 without files."


class Misuse(Exception):
    """The command line is invalid."""


def parser_of_commands() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_ampexp.plans", description="Commands for plan files.", epilog=_EPILOG
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="{check,forecast,backtest,plan,schema}")
    for name, words in (
        ("check", "print each mistake by file, line and field"),
        ("forecast", "show the earliest time of each stage and of the end"),
        ("backtest", "show where the guardrails would have stopped the past releases of each flag, without writing"),
        ("plan", "show the next change in Amplitude, without writing"),
    ):
        one = commands.add_parser(name, help=words, description=f"{words.capitalize()}.", epilog=_EPILOG)
        one.add_argument("paths", nargs="+", type=_path, metavar="PATH", help="a folder of plan files, or a file")
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
                help="run SQL guardrails and previews once, with the connections of this machine (AIRFLOW_CONN_<ID>)",
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
                metavar="CV",
                help="the metric's standard deviation divided by its mean; 3 for a conversion of 10 %% (default: 1)",
            )
            one.add_argument(
                "--traffic-sql",
                metavar="SQL",
                help="in place of --users: a query that returns one row, with the users and, as a second column, the "
                "variation",
            )
            one.add_argument(
                "--traffic-conn-id", metavar="ID", help="the connection of --traffic-sql (AIRFLOW_CONN_<ID>)"
            )
            one.add_argument(
                "--dependencies",
                action="store_true",
                help="read the flags in Amplitude, and name each rollout that would be ahead of a flag that it "
                "depends on",
            )
            one.add_argument("--finish-by", metavar="TIME", help="exit with 1 if a rollout cannot be complete by then")
        if name == "backtest":
            one.add_argument("--since", metavar="TIME", required=True, help="releases whose first raise is not earlier")
            one.add_argument("--until", metavar="TIME", help="the end of the period (default: now)")
            one.add_argument("--json", action="store_true", help="print JSON")
        if name in ("backtest", "forecast", "plan"):
            one.add_argument(
                "--conn-uri",
                metavar="URI",
                help="a connection URI that replaces the connection of the files. Other users can see the command line "
                "of a process, but not AIRFLOW_CONN_<ID> in its environment.",
            )
    commands.add_parser("schema", help="print the JSON Schema for editors")
    return parser


def parse_time(option: str, text: str | None) -> datetime | None:
    moment = parse_timestamp(text)
    if text is not None and moment is None:
        raise Misuse(f"{option}: expected a time such as 2026-12-01T09:00:00Z, got {text!r}")
    return moment


def _path(text: str) -> Path:
    if not text.strip():  # Path("") is the present folder
        raise argparse.ArgumentTypeError(f"expected a folder or a file, got {text!r}")
    return Path(text)


def _above_0(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def parse_defaults(given: list[str]) -> dict[str, object]:
    """Parse arguments such as ``soak=12h``, with the syntax of a file."""
    defaults: dict[str, object] = {}
    for argument in given:
        name, is_given, value = argument.partition("=")
        try:
            if not is_given or not name.strip():
                raise ValueError
            found = YamlDocument(value.encode()).value
        except (ValueError, YamlError):
            raise Misuse(f"--default: expected a field such as soak=12h, got {argument!r}") from None
        if name.strip() in defaults:
            raise Misuse(f"--default {name.strip()}: expected it once")
        defaults[name.strip()] = found
    return defaults
