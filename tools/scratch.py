"""A scratch Airflow beside a local emulator: what `make demo`, `make demo-rollback` and `make ui` start from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 240  # seconds after which a demo counts as failed


def environment(airflow_home: Path, connection_json: str, dags: Path = ROOT / "example_dags") -> dict[str, str]:
    """The environment of a quiet Airflow of its own that knows the emulator as its Amplitude connection."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT": connection_json,
        # A loopback address must not go through a proxy of the surroundings.
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONWARNINGS": "ignore",
    }


def migrate(env: dict[str, str]) -> None:
    """Make the metadata database."""
    done = subprocess.run(airflow("db", "migrate"), env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"'airflow db migrate' failed:\n{done.stdout}{done.stderr}")


def run_dag(
    env: Mapping[str, str], dag_id: str, conf: Mapping[str, object], log: Path, meanwhile: Callable[[], object]
) -> int:
    """Run a DAG with `airflow dags test`, and something else every fifth of a second until it has ended, and once more.

    Returns Airflow's exit code. Its log goes to a file, one JSON object a line.
    """
    quiet = {**env, "AIRFLOW__LOGGING__JSON_LOGS": "True", "PYTHONUNBUFFERED": "1"}
    deadline = time.monotonic() + LIMIT
    with log.open("w") as output:
        run = subprocess.Popen(
            airflow("dags", "test", dag_id, "--conf", json.dumps(conf)), env=quiet, stdout=output, stderr=output
        )
        try:
            while run.poll() is None and time.monotonic() < deadline:
                meanwhile()
                time.sleep(0.2)
        finally:
            run.kill()
            run.wait()
    meanwhile()
    return run.returncode


def airflow(*arguments: str) -> list[str]:
    """The command line of Airflow in this very environment."""
    return [str(Path(sys.executable).parent / "airflow"), *arguments]
