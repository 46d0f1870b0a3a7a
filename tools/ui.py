"""`make ui`: the emulator and `airflow standalone` with the examples, to look at. Ctrl-C ends both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from tools.scratch import airflow, environment

AIRFLOW_PORT = 8080
EMULATOR_PORT = 8765


def main() -> int:
    with EmulatorServer(port=EMULATOR_PORT) as server, tempfile.TemporaryDirectory(prefix="ampexp-ui-") as home:
        env = environment(Path(home), Emulator(server.base_url).connection_json)
        env |= {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(AIRFLOW_PORT),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # no login, on loopback only
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        }
        print(f"Airflow:   http://127.0.0.1:{AIRFLOW_PORT} (no login; ready in about half a minute)")
        print(f"Emulator:  {server.base_url}/_emulator/ tells what it can be told to do")
        print("Trigger the DAG staged_rollout with soak = 30s, and watch. Ctrl-C ends both.\n", flush=True)
        # A session of its own, so that all of Airflow's parts can be ended together.
        run = subprocess.Popen(airflow("standalone"), env=env, start_new_session=True)
        try:
            return run.wait()
        except KeyboardInterrupt:
            os.killpg(run.pid, signal.SIGTERM)
            run.wait(timeout=30)
            return 0


if __name__ == "__main__":
    sys.exit(main())
