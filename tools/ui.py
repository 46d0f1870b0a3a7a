"""`make ui`: run the emulator and an Airflow with the example DAGs. Ctrl-C ends both.

The command starts the parts of Airflow one by one. `airflow standalone` would serve its logs to the whole network, and
leave processes behind when it is killed.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer, listen
from tools.scratch import airflow, environment, migrate
from tools.warehouse import Warehouse

AIRFLOW_PORT, EMULATOR_PORT = 8080, 8765
AIRFLOW = f"http://127.0.0.1:{AIRFLOW_PORT}"
PARTS = {
    "api-server": ("--host", "127.0.0.1", "--port", str(AIRFLOW_PORT)),
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
PATIENCE = 10  # seconds in which the parts must end after SIGTERM


def main() -> int:
    for port in (AIRFLOW_PORT, EMULATOR_PORT):
        try:
            listen("127.0.0.1", port).close()
        except OSError as error:
            sys.exit(f"Port {port} cannot be used: {error}. Does another `make ui` run?")
    # A closed terminal and a plain `kill` have the effect of Ctrl-C.
    for other in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="ampexp-ui-") as home:
        return show(Path(home))
    print("\nEnded.")
    return 0


def show(home: Path) -> int:
    """Run Airflow and the emulator until an interruption, or until a part of Airflow ends by itself."""
    with EmulatorServer(port=EMULATOR_PORT) as server:
        emulator, warehouse = Emulator(server.base_url), Warehouse(home / "warehouse.db")
        env = environment(home, emulator.connection_json) | surroundings(emulator, warehouse)
        print("Starting Airflow and the emulator (half a minute) ...", flush=True)
        migrate(env)
        with parts(env, home) as running:
            told, traded = False, {}
            while not (dead := [part for part, process in running.items() if process.poll() is not None]):
                if not told and (told := is_healthy()):
                    tell(server.base_url, home)
                for flag in emulator.dump()["flags"]:
                    percentage = flag["rolloutPercentage"] if flag["enabled"] else 0
                    if percentage != traded.get(flag["id"], 0):
                        traded[flag["id"]] = percentage
                        warehouse.trade(flag["key"], percentage)
                time.sleep(0.5)
    print(f"Airflow's {dead[0]} has ended. The end of its log:\n")
    print("\n".join((home / f"{dead[0]}.log").read_text().splitlines()[-30:]))
    return 1


def surroundings(emulator: Emulator, warehouse: Warehouse) -> dict[str, str]:
    """Return more environment variables, for the examples and the parts of Airflow."""
    us, eu = json.loads(emulator.connection_json), json.loads(emulator.connection_json)
    eu["extra"]["project_id"] = "100002"  # another project of the emulator is the other region
    return {
        "AIRFLOW_CONN_AMPLITUDE_US": json.dumps(us),
        "AIRFLOW_CONN_AMPLITUDE_EU": json.dumps(eu),
        "AIRFLOW_CONN_WAREHOUSE": warehouse.connection_json,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),  # the same for all parts
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{AIRFLOW}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # no login, on loopback only
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
    }


def tell(emulator: str, home: Path) -> None:
    print(f"Airflow:   {AIRFLOW} (no login)")
    print(f"Emulator:  {emulator}/_emulator/ lists the commands of the emulator")
    print(f"Logs:      {home}")
    print("Trigger staged_rollout with soak = 30s, and watch. Or trigger guarded_rollout, which rolls back at 25 %.")
    print("Ctrl-C ends both.", flush=True)


def is_healthy() -> bool:
    """Return true if all parts of Airflow work."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy for loopback
        try:
            health = session.get(f"{AIRFLOW}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
    return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))


@contextmanager
def parts(env: Mapping[str, str], home: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run the parts of Airflow. At the end, stop all their processes."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for part, arguments in PARTS.items():
            with (home / f"{part}.log").open("wb") as log:
                # Each part has its own session, so that Ctrl-C reaches only this process, which then stops the parts.
                running[part] = subprocess.Popen(
                    airflow(part, *arguments), env=env, stdout=log, stderr=log, start_new_session=True
                )
        yield running
    finally:
        for impatience in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(impatience, signal.SIG_IGN)
        everything = psutil.Process().children(recursive=True)
        for process in running.values():
            process.terminate()
        _, left = psutil.wait_procs(everything, timeout=PATIENCE)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=PATIENCE)


if __name__ == "__main__":
    sys.exit(main())
