"""Worker seconds of a rollout in five stages, with soaks of two lengths, beside what else one can write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.row import Part, Row, table

if TYPE_CHECKING:
    from benchmarks.whole_airflow import WholeAirflow

SHORT, LONG = 5.0, 15.0
WAYS = {
    "bench-ramp": "this provider's ramp",
    "bench-sleep": "a sleeping `PythonOperator`",
    "bench-reschedule": "a rescheduling sensor (every 5 s)",
}


def measure(airflow: WholeAirflow) -> Part:
    """All at the same time."""
    runs = {(dag_id, soak): airflow.start(dag_id, soak) for dag_id in WAYS for soak in (SHORT, LONG)}
    failed = airflow.wait_for(list(runs.values()), 150)
    if failed:
        raise RuntimeError(f"These runs did not end well: {', '.join(failed)}")
    seconds = {run: airflow.worker_seconds(run_id) for run, run_id in runs.items()}
    growth = {dag_id: seconds[dag_id, LONG] / seconds[dag_id, SHORT] for dag_id in WAYS}
    ours = growth["bench-ramp"]
    return Part(
        "A rollout's workers",
        [
            Row(
                "worker seconds of a rollout of five stages",
                "a sleeping `PythonOperator`; a rescheduling sensor",
                "independent of the soak",
                f"{ours:.2f} x when the soaks are {LONG / SHORT:g} x as long; {growth['bench-sleep']:.2f} x; "
                f"{growth['bench-reschedule']:.2f} x",
                ours <= 1.25,
            )
        ],
        [
            f"Five stages with four soaks, of {SHORT:g} s and of {LONG:g} s, all six at the same time. A worker "
            "second is one in which Airflow says that the task is running. Starting a task's process takes most of "
            "them here. Independent means: at most a quarter more, which two runs of the same differ by.",
            table(
                ["way", f"worker seconds, soaks of {SHORT:g} s", f"soaks of {LONG:g} s", "processes", "growth"],
                [
                    (
                        name,
                        f"{seconds[dag_id, SHORT]:.1f}",
                        f"{seconds[dag_id, LONG]:.1f}",
                        " and ".join(str(airflow.workers(runs[dag_id, soak])) for soak in (SHORT, LONG)),
                        f"{growth[dag_id]:.2f} x",
                    )
                    for dag_id, name in WAYS.items()
                ],
            ),
        ],
    )
