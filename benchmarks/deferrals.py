"""`python -m benchmarks.deferrals`: write deferred tasks into Airflow's database.

A thousand tasks need a thousand worker processes, and minutes until they defer. The benchmark measures only the
triggerer. So this module writes the rows that the scheduler and the workers would write: a mapped task, deferred.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import Any

from benchmarks.loopback import FIRST_ID, KEY


def trigger_of(contestant: str, flag_id: str, interval: float) -> Any:
    """Return the contestant's trigger that waits until a flag is rolled out."""
    if contestant == "this provider":
        from airflow_provider_ampexp.polling._conditions import RolloutAtLeast, as_plain
        from airflow_provider_ampexp.triggers.flag_state import AmplitudeFlagStateTrigger

        return AmplitudeFlagStateTrigger(
            amplitude_conn_id="amplitude_experiment_default",
            kind="flags",
            id=flag_id,
            condition=as_plain(RolloutAtLeast(50)),
            poll_interval=interval,
            deadline=time.time() + 3600,
            failures=10,
        )
    if contestant == "own polls":
        from benchmarks.own_poll import OwnPollTrigger

        return OwnPollTrigger(id=flag_id, interval=interval)
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    return HttpSensorTrigger(
        endpoint=f"/api/1/flags/{flag_id}/variants/go",
        headers={"Authorization": f"Bearer {KEY}"},
        poke_interval=interval,
    )


def defer(contestant: str, first: int, last: int, flags: int, interval: float) -> None:
    """Write the tasks with the map indexes of a range. Each task waits for its flag."""
    from airflow.models import DagRun, TaskInstance
    from airflow.models.dag_version import DagVersion
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.trigger import Trigger
    from airflow.sdk import DAG, BaseOperator, timezone
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    dag_id = f"waits-{contestant.replace(' ', '-')}"
    with DAG(dag_id) as dag:
        BaseOperator.partial(task_id="wait").expand(doc=[])
    with create_session() as session:
        if DagVersion.get_latest_version(dag_id, session=session) is None:
            from airflow.dag_processing.bundles.manager import DagBundlesManager
            from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

            DagBundlesManager().sync_bundles_to_db()
            bag = DagBag(dag_folder="/dev/null")
            bag.bag_dag(dag)
            sync_bag_to_db(bag, "dags-folder", None, session=session)
            session.commit()
        stored = SerializedDagModel.get_dag(dag_id, session=session)
        now = timezone.utcnow()
        run = session.query(DagRun).filter(DagRun.dag_id == dag_id).one_or_none()
        if run is None:
            run = stored.create_dagrun(
                run_id="bench",
                run_after=now,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state="running",
                session=session,
            )
            session.flush()
        version = DagVersion.get_latest_version(dag_id, session=session)
        for index in range(first, last):
            trigger = Trigger.from_object(trigger_of(contestant, str(FIRST_ID + index % flags), interval))
            session.add(trigger)
            one = TaskInstance(
                stored.get_task("wait"),
                dag_version_id=version.id,
                run_id=run.run_id,
                map_index=index,
                state=TaskInstanceState.DEFERRED,
            )
            one.trigger = trigger
            one.trigger_timeout = now + timedelta(hours=2)
            one.next_method = "resume"
            one.try_number = 1
            one.start_date = now
            session.add(one)


if __name__ == "__main__":
    defer(**json.loads(sys.argv[1]))
