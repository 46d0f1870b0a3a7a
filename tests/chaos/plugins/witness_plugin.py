"""Airflow's way of telling when a task begins and ends."""

from __future__ import annotations

import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from tests.chaos.witness import Witness


@hookimpl
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    witness = _witness(task_instance)
    witness.tell("running")
    witness.listen()


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    _witness(task_instance).tell("success")


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    _witness(task_instance).tell("failed", said=str(error))


def _witness(task_instance: Any) -> Witness:
    return Witness(task_instance.run_id, task_instance.try_number)


class WitnessPlugin(AirflowPlugin):
    name = "chaos_witness"
    listeners = [sys.modules[__name__]]  # noqa: RUF012
