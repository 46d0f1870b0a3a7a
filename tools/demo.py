"""`make demo`: roll out a feature from 0 % to 100 % in a real Airflow, and print the timeline.

The demo starts the emulator and a scratch Airflow, and runs `airflow dags test staged_rollout`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from airflow.version import version as airflow_version

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from tools.scratch import environment, migrate, run_dag
from tools.timeline import Timeline, end_of

FLAG = "new-checkout"
STAGES = [1, 5, 25, 100]
SOAK = 4


def main() -> int:
    print(f"Airflow {airflow_version} releases the feature {FLAG!r} with example_dags/staged_rollout.py:")
    print(
        f"{' -> '.join(f'{stage} %' for stage in STAGES)}, "
        f"with a soak of {SOAK} s at each stage (in real life: hours or days)."
    )
    print("The emulator of this package takes the place of Amplitude. Starting both ...\n", flush=True)
    with EmulatorServer() as server, tempfile.TemporaryDirectory(prefix="ampexp-demo-") as home:
        emulator = Emulator(server.base_url)
        env = environment(Path(home), emulator.connection_json)
        migrate(env)
        log = Path(home) / "demo.log"
        log.touch()
        timeline = Timeline(emulator, FLAG, STAGES, log)
        began = time.monotonic()
        conf = {"flag_key": FLAG, "stages": STAGES, "soak": f"{SOAK}s"}
        returncode = run_dag(env, "staged_rollout", conf, log, timeline.show_new)
        seconds = time.monotonic() - began

        flag = timeline.flag
        if returncode == 0 and flag and flag["enabled"] and flag["rolloutPercentage"] == 100:
            total = emulator.requests()["total"]
            print(f"\nDone in {seconds:.0f} s: all users have {FLAG!r}. The rollout sent {total} requests.")
            return 0
        print(f"\nFAILED: Airflow ended with {returncode}, and {FLAG!r} is {flag}. The end of Airflow's log:\n")
        print(end_of(log))
        return 1


if __name__ == "__main__":
    sys.exit(main())
