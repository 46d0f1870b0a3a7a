"""The time from the end of a soak to the next stage, compared with a bare deferral, and the workers of a sensor."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.rounds import spread
from benchmarks.row import Part, Row, table

if TYPE_CHECKING:
    from benchmarks.whole_airflow import WholeAirflow

PAIRS = 8
SOAK = 8.0
SENSORS_FLAG = "of-bench-sensor"  # the key in benchmarks/dags/bench.py
APART = 4.0  # seconds between two starts, so that two runs rarely resume at the same time


def measure(airflow: WholeAirflow) -> Part:
    """Measure runs of the ramp and of the bare deferral, in turns, and two sensors."""
    sensor, templated = airflow.start("bench-sensor", flag_key=SENSORS_FLAG), airflow.start("bench-templated-sensor")
    runs: dict[str, list[str]] = {"bench-next-stage": [], "bench-floor": []}
    for number in range(PAIRS):
        for dag_id in sorted(runs, reverse=bool(number % 2)):
            runs[dag_id].append(airflow.start(dag_id, SOAK))
            time.sleep(APART)
    for key in (SENSORS_FLAG, templated):
        airflow.emulator.edit("flags", airflow.flag(key)["id"], rolloutPercentage=50)
    failed = airflow.wait_for([sensor, templated, *runs["bench-next-stage"], *runs["bench-floor"]], 60)
    ours = [late for run_id in runs["bench-next-stage"] if (late := _next_stage(airflow, run_id)) is not None]
    floor = [late for run_id in runs["bench-floor"] if (late := _resumed(airflow, run_id)) is not None]
    if not ours or not floor:
        raise RuntimeError(f"No run ended well: {failed}")
    ratio = statistics.median(ours) / statistics.median(floor)
    workers, ended = airflow.workers(sensor), sensor not in failed
    return Part(
        "End of a soak",
        [
            Row(
                "end of soak to the service having the next stage, LocalExecutor",
                "a bare deferral that resumes and sends one request",
                "at most 1.2 x",
                f"{ratio:.2f} x (of medians, {len(ours)} and {len(floor)} runs)",
                ratio <= 1.2,
            ),
            Row(
                "workers used by unmapped sensors",
                "one for deferring and one for resuming, as any deferrable sensor",
                "none",
                f"{workers} ({airflow.worker_seconds(sensor):.1f} worker seconds)" if ended else "it failed",
                workers == 0 and ended,
            ),
        ],
        [
            f"Soaks of {SOAK:g} s, and a run every {APART:g} s, of each kind in turn. The soak counts from the write "
            "of its stage. The next stage counts from its request to the emulator. "
            + (f"Failed runs: {len(failed)}." if failed else "All runs succeeded."),
            "The arguments of the unmapped sensor have no template. A sensor with a template starts and ends on a "
            f"worker: it took {airflow.workers(templated)}, for {airflow.worker_seconds(templated):.1f} "
            "worker seconds.",
            table(
                ["measure", "median s", "interquartile range"],
                [
                    ("the next stage of a ramp", f"{statistics.median(ours):.2f}", spread(ours)),
                    ("a bare deferral's one request", f"{statistics.median(floor):.2f}", spread(floor)),
                ],
            ),
        ],
    )


def _next_stage(airflow: WholeAirflow, run_id: str) -> float | None:
    writes = airflow.writes(airflow.flag(run_id)["id"])
    return writes[1] - writes[0] - SOAK if len(writes) == 2 else None


def _resumed(airflow: WholeAirflow, run_id: str) -> float | None:
    flag = airflow.flag(run_id)
    writes = airflow.writes(flag["id"])
    return writes[0] - float(flag["description"]) if len(writes) == 1 else None
