"""A scratch Airflow beside a local emulator: what `make demo` and `make ui` start from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


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


def airflow(*arguments: str) -> list[str]:
    """The command line of Airflow in this very environment."""
    return [str(Path(sys.executable).parent / "airflow"), *arguments]
