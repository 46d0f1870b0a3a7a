"""`python -m tests.chaos --seed 1`: kill a real Airflow's processes while it releases features."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from airflow.version import version as airflow_version

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer

_NEEDED = {"local": ["psycopg2", "asyncpg"], "celery": ["psycopg2", "asyncpg", "redis", "airflow.providers.celery"]}
_LIMIT = 19 * 60.0  # seconds for a whole run; the end of the processes takes the rest of 20 minutes


def main() -> int:
    arguments = _arguments()
    missing = [name for name in _NEEDED[arguments.executor] if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"{', '.join(missing)} cannot be imported. Install the extra: pip install -e '.[chaos]'")
    # Ctrl+C of a terminal and a plain kill also end the child processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = Path(tempfile.mkdtemp(prefix="ampexp-chaos-"))
    failed = True
    try:
        failed = not run(arguments, scratch)
    finally:
        if failed or arguments.keep:
            print(f"Airflow's logs are kept in {scratch}", flush=True)
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    return int(failed)


def run(arguments: argparse.Namespace, scratch: Path) -> bool:
    """Run once, and return true if everything ended as expected."""
    from tests.chaos.controller import Controller, Rollout
    from tests.chaos.database import Database
    from tests.chaos.installation import CONNECTION_EXTRAS, Installation
    from tests.chaos.judge import asked, judge, seconds_to_roll_back
    from tests.chaos.kinds import ALL_KINDS
    from tests.chaos.processes import Processes, adopt_orphans, until
    from tests.chaos.report import report, scenarios_report
    from tests.chaos.scenarios import Scenarios
    from tests.chaos.services import Postgres, Redis
    from tests.chaos.watchdog import play_rounds
    from tests.chaos.witness import read
    from tools.scratch import migrate

    began = time.monotonic()
    adopt_orphans()
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(scratch / "postgres.log"))
        redis = stack.enter_context(Redis(scratch / "redis.log")) if arguments.executor == "celery" else None
        server = stack.enter_context(EmulatorServer())
        emulator = Emulator(server.base_url)
        connection = json.loads(emulator.connection_json)
        connection["extra"] |= CONNECTION_EXTRAS
        installation = Installation(scratch / "airflow", json.dumps(connection), postgres, redis)
        postgres.make_database("airflow")
        migrate(installation.env)
        print(
            f"Airflow {airflow_version}, {installation.env['AIRFLOW__CORE__EXECUTOR']}, on PostgreSQL; seed "
            f"{arguments.seed}. {arguments.rollouts} rollouts at a time, {arguments.kills} kills.",
            flush=True,
        )
        processes = stack.enter_context(Processes(installation.parts, installation.env, scratch))
        if not until(installation.is_healthy, 120) or not until(
            lambda: installation.knows([f"chaos-{name}" for name in ALL_KINDS]), 60
        ):
            print("Airflow did not come up.")
            return False
        database = Database(postgres.url("airflow"))
        stack.callback(database.close)
        controller = Controller(
            emulator,
            installation,
            processes,
            database,
            seed=arguments.seed,
            at_a_time=arguments.rollouts,
            kills=arguments.kills,
        )
        if arguments.watchdog:
            return not play_rounds(controller, arguments.watchdog, arguments.rollouts, partial(print, flush=True))
        is_over = controller.run(began + _LIMIT)
        scenarios = Scenarios(controller)
        is_over = is_over and scenarios.run(began + _LIMIT)
        lines, tries, requests = read(installation.witnessed), database.all_tries(), asked(emulator)

        def judged(one: Rollout) -> list[str]:
            own = [line for line in lines if line.run_id == one.run_id]
            return judge(one, emulator, tries.get(one.run_id, []), own, requests.get(one.flag_id, []))

        def took(one: Rollout) -> float | None:
            versions = emulator.versions("flags", one.flag_id)[::-1]
            return seconds_to_roll_back(versions, [line for line in lines if line.run_id == one.run_id])

        violations = [f"{rollout}: {found}" for rollout in controller.rollouts for found in judged(rollout)]
        violations += [problem for scenario in scenarios.played for problem in scenario.problems()]
        (scratch / "kills.json").write_text(json.dumps([kill.told() for kill in controller.killer.kills]))
        (scratch / "world.json").write_text(json.dumps(emulator.dump()))
        print("\n" + report(controller, violations, time.monotonic() - began), flush=True)
        print("\n" + scenarios_report(scenarios.played, took), flush=True)
        if not is_over:
            print(f"It was not over after {_LIMIT / 60:.0f} minutes.")
        return is_over and not violations


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn by lot (default: 1)")
    parser.add_argument("--rollouts", type=int, default=20, help="how many go on at a time (default: 20)")
    parser.add_argument("--kills", type=int, default=50, help="after how many it lets the rollouts end (default: 50)")
    parser.add_argument(
        "--watchdog", type=int, default=0, help="in place of all else: kill all of Airflow so often, for the watchdog"
    )
    parser.add_argument("--executor", choices=sorted(_NEEDED), default="local")
    parser.add_argument("--keep", action="store_true", help="keep Airflow's logs; they are kept anyway if it failed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
