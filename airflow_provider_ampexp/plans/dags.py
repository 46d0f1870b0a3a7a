"""From plan files to DAGs."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp.client.errors import InvalidInputError
from airflow_provider_ampexp.plans.mistakes import Mistake, PlanFileError, PlanFileWarning
from airflow_provider_ampexp.plans.reading import ReadPlan, read_plans

if TYPE_CHECKING:
    from airflow.sdk import DAG


def rollout_dags(folder: str | os.PathLike[str], **defaults: Any) -> dict[str, DAG]:
    """Make a DAG of each plan file in a folder, and of those in folders within it. Airflow finds them by itself.

    A file with mistakes becomes no DAG but warnings, one for each mistake, with its line; the others load all the
    same::

        from airflow_provider_ampexp.plans import rollout_dags

        rollout_dags("rollouts/")

    :param folder: where the files are, as seen from the file that calls this
    :param defaults: fields for the files that do not say them, such as ``connection="amplitude_eu"`` or ``soak="12h"``
    :returns: the DAGs by their ids
    :raises NotADirectoryError: when there is no such folder
    :raises InvalidInputError: when a default is no field of a plan file
    """
    here = Path(sys._getframe(1).f_globals.get("__file__") or "").parent
    dags: dict[str, DAG] = {}
    for read in read_plans([here / folder], defaults):
        try:
            if isinstance(read, PlanFileError):
                raise read
            dag = rollout_dag(read)
        except PlanFileError as error:
            for one in error.mistakes:
                warnings.warn_explicit(one.sentence, PlanFileWarning, one.file, one.line)
            continue
        dags[dag.dag_id] = dag
        dag.auto_register = True
        with dag:
            pass  # Airflow takes up a DAG when such a block ends. Only now it is known to be whole.
    return dags


def rollout_dag(read: ReadPlan) -> DAG:
    """Make the DAG of one file, without having Airflow take it up.

    :raises PlanFileError: when the operators or Airflow do not accept what it says
    """
    from airflow.sdk import DAG

    from airflow_provider_ampexp.task_groups.rollout import staged_rollout

    plan = read.plan
    try:
        with DAG(**plan.dag_arguments(), doc_md=_document(read), auto_register=False) as dag:
            staged_rollout(**plan.group_arguments())
        _check_schedule(dag, plan.schedule)
        dag.validate()  # type: ignore[no-untyped-call]
    except InvalidInputError as error:
        raise read.refused(error) from None
    except Exception as error:
        # Whatever it is, it must not hide the other files.
        raise PlanFileError(
            [Mistake(read.file, 1, "", f"Airflow refuses it: {type(error).__name__}: {error}")]
        ) from error
    return dag


def _check_schedule(dag: DAG, schedule: str | None) -> None:
    try:
        dag.timetable.validate()
    except Exception as error:
        raise InvalidInputError(
            "schedule", f"{schedule!r} is neither cron nor a preset such as '@once': {error}"
        ) from None


def _document(read: ReadPlan) -> str:
    """What Airflow's page of the DAG shows: the file itself."""
    return f"{read.plan.description or ''}\n\n`{Path(read.file).name}`:\n\n~~~yaml\n{read.yaml.text}\n~~~\n"
