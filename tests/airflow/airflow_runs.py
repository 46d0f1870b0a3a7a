"""Run a DAG in this process with Airflow's own task runner, rendering, XCom, deferral and database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG


class Run:
    """A run that has ended."""

    def __init__(self, dag: DAG, conf: dict[str, Any] | None = None, logical_date: datetime | None = None) -> None:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        folder = str(dag_folder())
        bag = DagBag(dag_folder=folder, bundle_path=dag_folder(), bundle_name="dags-folder")
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        self._run = dag.test(run_conf=conf, logical_date=logical_date)
        self.succeeded = str(self._run.state) == "success"
        tis = self._run.get_task_instances()
        self.states = {
            task_instance.task_id
            if task_instance.map_index < 0
            else f"{task_instance.task_id}[{task_instance.map_index}]": str(task_instance.state)
            for task_instance in tis
        }
        self.tries = {task_instance.task_id: task_instance.try_number for task_instance in tis}

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return an XCom of a task; ``None`` if the task did not push it."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            query = XComModel.get_many(
                run_id=self._run.run_id, dag_ids=self._run.dag_id, task_ids=task_id, key=key, map_indexes=map_index
            )
            found = session.execute(query.with_only_columns(XComModel.value)).first()
            return None if found is None else XComModel.deserialize_value(found)


def dag_folder() -> Any:
    import os
    from pathlib import Path

    return Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
