"""From plan files to DAGs."""

from __future__ import annotations

import os
import re
import sys
import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.plans._errors import PlanFileError, PlanFileWarning, PlanIssue
from airflow_provider_ampexp.plans._loader import LoadedPlan, plans_of_one_flag, read_plans

if TYPE_CHECKING:
    from airflow.sdk import DAG, TaskGroup

    from airflow_provider_ampexp.plans._models import PlanFile


def rollout_dags(folder: str | os.PathLike[str], **defaults: Any) -> dict[str, DAG]:
    """Make a DAG of each plan file in a folder, and of those in folders within it. Airflow finds them by itself.

    A file with mistakes becomes a DAG of its name with ``.broken`` behind it, whose one task fails with the mistakes,
    and a warning for each mistake, with its line. The other files are loaded. Two files that ramp the same flag and
    segment are loaded with a warning::

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
    plans = read_plans([here / folder], defaults)
    for mistake in plans_of_one_flag(plans):
        _warn(mistake)
    for read in plans:
        try:
            if isinstance(read, PlanFileError):
                raise read
            dag = rollout_dag(read)
        except PlanFileError as error:
            for mistake in error.mistakes:
                _warn(mistake)
            dag = broken_dag(error)
        dags[dag.dag_id] = dag
        dag.auto_register = True
        with dag:
            pass  # Airflow registers a DAG when such a block ends. Only now the DAG is known to be whole.
    return dags


def broken_dag(error: PlanFileError) -> DAG:
    """Make a DAG that shows what is wrong with a file: on its page, and by its one task, which runs once and fails.

    Its id is not that of the file's own DAG: in a run that goes on Airflow would remove the tasks of the rollout.
    """
    from airflow.sdk import DAG

    from airflow_provider_ampexp.plans._broken_dag import BrokenPlanFileOperator

    name = Path(error.mistakes[0].file).stem
    mistakes = "\n".join(f"* `{mistake}`" for mistake in error.mistakes)
    with DAG(
        dag_id=f"{_as_id(name)[:200]}.broken",
        description=f"The plan file {Path(error.mistakes[0].file).name} has mistakes and is not loaded.",
        doc_md=f"This plan file has mistakes and is not loaded:\n\n{mistakes}\n",
        schedule="@once",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        catchup=False,
        is_paused_upon_creation=False,
        tags=["broken-plan-file"],
        auto_register=False,
    ) as dag:
        BrokenPlanFileOperator(task_id="plan_file", mistakes=str(error))
    return dag


def _warn(mistake: PlanIssue) -> None:
    warnings.warn_explicit(mistake.sentence, PlanFileWarning, mistake.file, mistake.line)


def rollout_dag(read: LoadedPlan) -> DAG:
    """Make the DAG of one file, without having Airflow take it up.

    :raises PlanFileError: when the operators or Airflow do not accept what it says
    """
    from airflow.sdk import DAG

    from airflow_provider_ampexp.task_groups.rollout import staged_rollout

    plan = read.plan
    try:
        with DAG(**plan.dag_arguments(), doc_md=_document(read), auto_register=False) as dag:
            group = staged_rollout(**plan.group_arguments())
            _before(plan, group)
        _check_schedule(dag, plan.schedule)
        dag.validate()  # type: ignore[no-untyped-call]
    except InvalidInputError as error:
        raise read.refused(error) from None
    except Exception as error:
        # No error of one file must hide the other files.
        raise PlanFileError(
            [PlanIssue(read.file, 1, "", f"Airflow refuses it: {type(error).__name__}: {error}")]
        ) from error
    return dag


def _before(plan: PlanFile, group: TaskGroup) -> None:
    """What a plan does before its first stage: create the flag, and let the users of ``inclusions`` in."""
    from airflow_provider_ampexp.operators.inclusions import AmplitudeAddInclusionsOperator
    from airflow_provider_ampexp.operators.lifecycle import (
        AmplitudeCreateExperimentOperator,
        AmplitudeCreateFlagOperator,
    )

    target = plan.target_arguments()
    following: Any = group
    if plan.inclusions:
        following = [
            AmplitudeAddInclusionsOperator(task_id=f"include_{_as_id(variant)}", variant=variant, users=users, **target)
            for variant, users in plan.inclusions.items()
        ]
        following >> group
    if plan.create is not None:
        create = AmplitudeCreateFlagOperator if plan.flag is not None else AmplitudeCreateExperimentOperator
        create(task_id="create", **target, **plan.create.arguments) >> following


def _as_id(name: str) -> str:
    """A name as a part of an id of Airflow."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _check_schedule(dag: DAG, schedule: str | None) -> None:
    try:
        dag.timetable.validate()
    except Exception as error:
        raise InvalidInputError(
            "schedule", f"{schedule!r} is neither cron nor a preset such as '@once': {error}"
        ) from None


def _document(read: LoadedPlan) -> str:
    """What Airflow's page of the DAG shows: the file itself."""
    return f"{read.plan.description or ''}\n\n`{Path(read.file).name}`:\n\n~~~yaml\n{read.yaml.text}\n~~~\n"
