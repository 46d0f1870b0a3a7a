"""A scratch Airflow for a local emulator, for `make demo`, `make demo-rollback`, `make demo-holdback` and `make ui`."""

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
    """Return the environment of a separate, quiet Airflow. Its Amplitude connection leads to the emulator."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")},
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW_CONN_AMPLITUDE_EXPERIMENT_DEFAULT": connection_json,
        # Do not use a proxy of the environment for loopback.
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONWARNINGS": "ignore",
    }


def migrate(env: dict[str, str]) -> None:
    """Create the metadata database."""
    done = subprocess.run(airflow("db", "migrate"), env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"'airflow db migrate' failed:\n{done.stdout}{done.stderr}")


def run_dag(
    env: Mapping[str, str], dag_id: str, conf: Mapping[str, object], log: Path, meanwhile: Callable[[], object]
) -> int:
    """Run a DAG with `airflow dags test`, and return Airflow's exit code.

    :param log: the file for Airflow's log, one JSON object a line
    :param meanwhile: called every 0.2 s during the run, and once after it
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
    """Return the command line of Airflow in the environment of this Python."""
    return [str(Path(sys.executable).parent / "airflow"), *arguments]
