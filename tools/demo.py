"""`make demo`: a feature goes from nothing to 100 % in a real Airflow, and a person can watch.

The emulator and a scratch Airflow are started, `airflow dags test staged_rollout` runs, and the timeline is printed as
the emulator saw it: the truth about a rollout is in the service, not in Airflow's log.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from airflow.version import version as airflow_version

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer
from tools.scratch import airflow, environment, migrate

FLAG = "new-checkout"
STAGES = [1, 5, 25, 100]
SOAK = 4
LIMIT = 240  # seconds after which the demo counts as failed


def main() -> int:
    print(f"Airflow {airflow_version} releases the feature {FLAG!r} with example_dags/staged_rollout.py:")
    print(
        f"{' -> '.join(f'{stage} %' for stage in STAGES)}, "
        f"with a soak of {SOAK} s at each stage (in real life: hours or days)."
    )
    print("Amplitude is played by the emulator of this package. Starting both ...\n", flush=True)
    with EmulatorServer() as server, tempfile.TemporaryDirectory(prefix="ampexp-demo-") as home:
        emulator = Emulator(server.base_url)
        env = environment(Path(home), emulator.connection_json)
        migrate(env)
        env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"
        began = time.monotonic()
        conf = json.dumps({"flag_key": FLAG, "stages": STAGES, "soak": f"{SOAK}s"})
        log = Path(home) / "demo.log"
        with log.open("w") as output:
            run = subprocess.Popen(
                airflow("dags", "test", "staged_rollout", "--conf", conf), env=env, stdout=output, stderr=output
            )
            timeline = Timeline(emulator)
            try:
                while run.poll() is None and time.monotonic() - began < LIMIT:
                    timeline.show_new()
                    time.sleep(0.2)
            finally:
                run.kill()
                run.wait()
        timeline.show_new()
        return verdict(emulator, run.returncode, time.monotonic() - began, log)


class Timeline:
    """Prints each change of the flag once, as the emulator's version history tells it."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._shown = 0
        self._included = 0
        print("time (UTC)  what                users get it                     by        requests so far")

    def show_new(self) -> None:
        flag = find(self._emulator)
        if flag is None:
            return
        for version in reversed(self._emulator.versions("flags", flag["id"])):
            if version["version"] > self._shown:
                self._shown = version["version"]
                config = version["flagConfig"]
                self._line(version["createdAt"], _what(version), config, version["createdBy"])
        included = len(self._emulator.inclusions("flags", flag["id"], "on"))
        if included != self._included:
            self._included = included
            added = [
                one
                for one in self._emulator.request_log()
                if one["method"] == "POST" and one["path"].endswith("/users")
            ]
            self._line(added[-1]["at"], f"QA let in ({included})", flag, added[-1]["person"])

    def _line(self, at: str, what: str, config: dict, by: str) -> None:
        percentage = config["rolloutPercentage"] if config["enabled"] else 0
        bar = "#" * (percentage // 5) or ("." if percentage == 0 else "|")
        used = sum(1 for one in self._emulator.request_log() if one["at"] <= at)
        moment = datetime.fromisoformat(at.replace("Z", "+00:00"))
        print(f"{moment:%H:%M:%S}    {what:<18}  {percentage:>4} %  {bar:<23}  {by:<8}  {used:>3}", flush=True)


def _what(version: dict) -> str:
    config = version["flagConfig"]
    if version["version"] == 1:
        return "created, off"
    if config["rolloutPercentage"] in STAGES:
        return f"stage {STAGES.index(config['rolloutPercentage']) + 1} of {len(STAGES)}"
    return "enabled" if config["enabled"] else "edited"


def find(emulator: Emulator) -> dict | None:
    return next((one for one in emulator.dump()["flags"] if one["key"] == FLAG), None)


def verdict(emulator: Emulator, returncode: int, seconds: float, log: Path) -> int:
    flag = find(emulator)
    if returncode == 0 and flag and flag["enabled"] and flag["rolloutPercentage"] == 100:
        total = emulator.requests()["total"]
        print(f"\nDone in {seconds:.0f} s: everybody has {FLAG!r}. It took {total} requests to Amplitude.")
        return 0
    print(f"\nFAILED: Airflow ended with {returncode}, and {FLAG!r} is {flag}. The end of Airflow's log:\n")
    print("\n".join(log.read_text().splitlines()[-40:]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
