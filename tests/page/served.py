"""The page over real HTTP, with Airflow's database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

import requests
from fastapi import FastAPI

from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._stages import parse_stages

CONNECTION = "amplitude_experiment_default"
FLAGS = f"/connections/{CONNECTION}/flags"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Page:
    """The page over real HTTP."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self.app = app
        self._address = address

    def request(self, method: str, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self._address + path, headers=headers, timeout=30)

    def get(self, path: str, headers: dict[str, str] | None = None) -> requests.Response:
        return self.request("GET", path, headers)


def login(role: str) -> dict[str, str]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=role))
    return {"Authorization": f"Bearer {token}"}


class Rollouts:
    """Tasks in Airflow's database, without an Airflow that runs them."""

    def add(self, dag_id: str, flag_id: str, *, is_paused: bool = False) -> None:
        """Add a task that ramps a flag."""
        plan = RolloutPlan(parse_stages([1, 5, 25], "12h")).as_json()
        shown = {"amplitude_conn_id": CONNECTION, "kind": "flags", "id": flag_id, "key": "flag", "plan": plan}
        self.add_xcoms(dag_id, "run", "ramp", {"amplitude_experiment_plan": shown}, is_paused=is_paused)

    def add_xcoms(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        xcoms: Mapping[str, Any],
        *,
        map_index: int = -1,
        is_paused: bool = False,
    ) -> None:
        """Add a task with these XComs, and its DAG and its run if they do not exist."""
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import insert, select

        now = datetime.now(timezone.utc)
        of_task = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        with create_session() as session:
            if session.get(DagBundleModel, "tests") is None:
                session.add(DagBundleModel(name="tests"))
                session.flush()
            if session.get(DagModel, dag_id) is None:
                session.add(DagModel(dag_id=dag_id, bundle_name="tests", is_paused=is_paused, fileloc="-"))
                session.flush()
            run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
            if run is None:
                run = DagRun(dag_id=dag_id, run_id=run_id, run_type="manual", state="running", start_date=now)
                session.add(run)
                session.flush()
            ti = {**of_task, "id": uuid4(), "state": "scheduled", "pool": "default_pool", "pool_slots": 1}
            session.execute(insert(TaskInstance).values(**ti, try_number=1, max_tries=0, start_date=now))
            for key, value in xcoms.items():
                xcom = {**of_task, "dag_run_id": run.id, "key": key, "value": json.dumps(value)}
                session.execute(insert(XComModel).values(**xcom, timestamp=now))
