"""``python -m airflow_provider_ampexp.emulator``: the emulator in the foreground."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from airflow_provider_ampexp.emulator._state.errors import Refusal
from airflow_provider_ampexp.emulator._state.service import Service
from airflow_provider_ampexp.emulator._state.snapshots import Snapshot, load, reset
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import listen, make_server

_LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, ValidationError, Refusal)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_ampexp.emulator",
        description="A local Management API of Amplitude Experiment, to try DAGs without an account. "
        "It keeps its state in memory only. Stop it with Ctrl+C.",
        epilog="GET /_emulator/ on the running emulator lists its control routes.",
    )
    parser.add_argument("--port", type=int, default=8765, help="the port; 0 for a free port (default: 8765)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE.json",
        help="a state to load at the start, if the file exists; GET /_emulator/dump returns a state",
    )
    return parser


def _welcome(base_url: str, service: Service) -> str:
    emulator = Emulator(base_url)
    lines = [f"The emulator listens on {base_url}", "", "Management keys:"]
    for key in service.keys.all():
        lines.append(f"  {key.key:<14} {key.person}, projects {', '.join(sorted(key.projects))}")
    return "\n".join(
        [
            *lines,
            "",
            "An Airflow connection to it:",
            "  airflow connections add amplitude_experiment_default --conn-json "
            + shlex.quote(emulator.connection_json),
            "",
            "A first request:",
            f"  curl -H 'Authorization: Bearer {emulator.api_key}' {base_url}/api/1/flags",
            "",
            f"Its control routes: curl {base_url}/_emulator/",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted. Returns the exit code."""
    options = _parser().parse_args(arguments)
    if not options.host.strip():  # an empty host would listen on all addresses
        print("The emulator cannot listen: --host: expected an address, got an empty text", file=sys.stderr)
        return 1
    service = Service()
    reset(service)
    if options.state is not None and options.state.exists():
        try:
            load(service, Snapshot.model_validate(json.loads(options.state.read_text(encoding="utf-8"))))
        except _LOAD_ERRORS as error:
            print(f"The state in {options.state} cannot be loaded: {error}", file=sys.stderr)
            return 1
    try:
        bound = listen(options.host, options.port)
    except (OSError, OverflowError) as error:
        print(f"The emulator cannot listen on {options.host} port {options.port}: {error}", file=sys.stderr)
        return 1
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(_welcome(f"http://{host}:{bound.getsockname()[1]}", service), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        make_server(service).run([bound])
    return 0


if __name__ == "__main__":
    sys.exit(main())
