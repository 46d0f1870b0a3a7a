"""`make demo-rollback`: release a feature with a bug, which a guardrail rolls back, and print the timeline.

The demo runs `guarded_rollout`, like `make demo`, with a scratch warehouse in SQLite. Each stage adds checkouts to the
warehouse. From one stage on, checkouts with the feature fail more often.
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
from tools.warehouse import BAD_FROM, Warehouse

FLAG = "new-checkout"
STAGES = [1, 5, 25, 50, 100]
SOAK = 4


def main() -> int:
    print(f"Airflow {airflow_version} releases the feature {FLAG!r} with example_dags/guarded_rollout.py:")
    print(
        f"{' -> '.join(f'{stage} %' for stage in STAGES)}, "
        f"with a soak of {SOAK} s at each stage (in real life: hours or days).\n"
    )
    print(
        "Before each raise a guardrail asks the warehouse (here SQLite): do checkouts fail more often with the feature"
    )
    print(f"than without it? This feature has a bug that shows only at {BAD_FROM} %, and nobody is on call.")
    print("The emulator of this package takes the place of Amplitude. Starting both ...\n", flush=True)
    with EmulatorServer() as server, tempfile.TemporaryDirectory(prefix="ampexp-demo-") as home:
        emulator = Emulator(server.base_url)
        warehouse, log = Warehouse(Path(home) / "warehouse.db"), Path(home) / "demo.log"
        log.touch()
        env = environment(Path(home), emulator.connection_json)
        env["AIRFLOW_CONN_WAREHOUSE"] = warehouse.connection_json
        migrate(env)
        timeline = Timeline(emulator, FLAG, STAGES, log)

        def watch() -> None:
            for percentage in timeline.show_new():
                if percentage:
                    warehouse.trade(FLAG, percentage)

        began = time.monotonic()
        conf = {"flag_key": FLAG, "stages": STAGES, "soak": f"{SOAK}s"}
        returncode = run_dag(env, "guarded_rollout", conf, log, watch)
        return verdict(emulator, timeline, returncode, time.monotonic() - began, log)


def verdict(emulator: Emulator, timeline: Timeline, returncode: int, seconds: float, log: Path) -> int:
    """Print whether the rollout rolled back as expected, and return 0 if it did."""
    flag, last = timeline.flag, timeline.verdicts[-1] if timeline.verdicts else None
    expected = [0, *(stage for stage in STAGES if stage <= BAD_FROM), 0]
    if (
        returncode == 0
        or not (flag and last)
        or timeline.reached != expected
        or flag["enabled"]
        or (last.verdict, last.percentage) != ("fail", BAD_FROM)
    ):
        print(f"\nFAILED: Airflow ended with {returncode}, users got {timeline.reached} %, and {FLAG!r} is {flag}.")
        print(f"The last verdict: {last}. The end of Airflow's log:\n")
        print(end_of(log))
        return 1
    spared = " and ".join(f"{stage} %" for stage in STAGES if stage > BAD_FROM)
    print(f"""
What happened   At {BAD_FROM} % the guardrail failed. The rollout rolled the flag back, and stopped.
Why             {last.name}: {last.why}.
Where it is     {FLAG!r} is off, as before the rollout: no user gets it. {spared} were never set.
What now        The task `ramp` has failed with this reason, and does not retry. Fix the feature, then clear the task.
What it took    {emulator.requests()["total"]} requests to Amplitude, {seconds:.0f} s, and no person.""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
