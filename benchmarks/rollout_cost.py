"""The worker seconds of a rollout in five stages, with soaks of two lengths, compared with two alternatives."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.rounds import spread
from benchmarks.row import Part, Row, table

if TYPE_CHECKING:
    from benchmarks.whole_airflow import WholeAirflow

SHORT, LONG = 5.0, 15.0
WAYS = {
    "bench-ramp": "this provider's ramp",
    "bench-sleep": "a sleeping `PythonOperator`",
    "bench-reschedule": "a rescheduling sensor (every 5 s)",
}
RAMPS = 5
APART = 2.5
"""Seconds between the starts of two ramps. The lengths take turns, so the load is the same for both."""


def measure(airflow: WholeAirflow) -> Part:
    """Measure all runs at the same time."""
    runs = {(dag_id, soak): [airflow.start(dag_id, soak)] for dag_id in WAYS for soak in (SHORT, LONG)}
    for number in range(1, RAMPS):
        for soak in sorted((SHORT, LONG), reverse=bool(number % 2)):
            time.sleep(APART)
            runs["bench-ramp", soak].append(airflow.start("bench-ramp", soak))
    failed = airflow.wait_for([run_id for run_ids in runs.values() for run_id in run_ids], 150)
    runs = {run: [run_id for run_id in run_ids if run_id not in failed] for run, run_ids in runs.items()}
    if not all(runs.values()):
        raise RuntimeError(f"These runs did not end well: {', '.join(failed)}")
    each = {run: [airflow.worker_seconds(run_id) for run_id in run_ids] for run, run_ids in runs.items()}
    seconds = {run: statistics.median(found) for run, found in each.items()}
    growth = {dag_id: seconds[dag_id, LONG] / seconds[dag_id, SHORT] for dag_id in WAYS}
    ours, ramps = growth["bench-ramp"], " and ".join(str(len(runs["bench-ramp", soak])) for soak in (SHORT, LONG))
    return Part(
        "A rollout's workers",
        [
            Row(
                "worker seconds of a rollout of five stages",
                "a sleeping `PythonOperator`; a rescheduling sensor",
                "independent of the soak",
                f"{ours:.2f} x (of medians, {ramps} runs) when the soaks are {LONG / SHORT:g} x as long; "
                f"{growth['bench-sleep']:.2f} x; {growth['bench-reschedule']:.2f} x",
                ours <= 1.25,
            )
        ],
        [
            f"Five stages with four soaks, of {SHORT:g} s and of {LONG:g} s, all at the same time: {RAMPS} ramps of "
            "each (the median, with the interquartile range in brackets), and one of each other way. A worker second "
            "is a second in which Airflow shows the task as running. Most of them are the start of a task's process, "
            "which varies. Independent means: at most a quarter more. "
            + (f"Failed runs: {len(failed)}." if failed else "All runs succeeded."),
            table(
                ["way", f"worker seconds, soaks of {SHORT:g} s", f"soaks of {LONG:g} s", "processes", "growth"],
                [
                    (
                        name,
                        *(_told(each[dag_id, soak]) for soak in (SHORT, LONG)),
                        " and ".join(_processes(airflow, runs[dag_id, soak]) for soak in (SHORT, LONG)),
                        f"{growth[dag_id]:.2f} x",
                    )
                    for dag_id, name in WAYS.items()
                ],
            ),
        ],
    )


def _told(seconds: list[float]) -> str:
    median = f"{statistics.median(seconds):.1f}"
    return f"{median} ({spread(seconds, 1)})" if len(seconds) > 1 else median


def _processes(airflow: WholeAirflow, run_ids: list[str]) -> str:
    counts = [airflow.workers(run_id) for run_id in run_ids]
    return f"{statistics.median(counts):g}"
