"""Create DAGs from plan files."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.plans._errors import PlanFileError, PlanFileWarning, PlanIssue
from airflow_provider_ampexp.plans._loader import LoadedPlan, plans_of_one_flag, read_plans

if TYPE_CHECKING:
    from airflow.sdk import DAG, TaskGroup

    from airflow_provider_ampexp.plans._models import PlanFile


def rollout_dags(folder: str | os.PathLike[str], **defaults: Any) -> dict[str, DAG]:
    """Create a DAG of each plan file in a folder and its subfolders. Airflow finds the DAGs.

    A file with mistakes becomes a DAG with its name and the ending ``.broken``, whose one task fails with the mistakes.
    Each mistake is also a warning with its line. The other files are loaded. Two files that ramp the same flag and
    segment are loaded with a warning::

        from airflow_provider_ampexp.plans import rollout_dags

        rollout_dags("rollouts/")

    :param folder: the folder, relative to the calling file
    :param defaults: defaults for fields of the files, such as ``connection="amplitude_eu"`` or ``soak="12h"``
    :returns: the DAGs by their ids
    :raises NotADirectoryError: when the folder does not exist
    :raises InvalidInputError: when a default is not a field of a plan file
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
            pass  # Airflow registers a DAG when the block ends, so register it only after validation.
    return dags


def broken_dag(error: PlanFileError) -> DAG:
    """Create a DAG that shows the mistakes of a file: on its page, and by its one task, which runs once and fails.

    Its id differs from the id of the file's DAG. With the same id Airflow would remove the tasks of a running rollout.
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
    """Create the DAG of one file, without registering it in Airflow.

    :raises PlanFileError: when the operators or Airflow do not accept a value
    """
    from airflow.sdk import DAG

    from airflow_provider_ampexp.task_groups.rollout import staged_rollout

    plan = read.plan
    try:
        with DAG(**plan.dag_arguments(), doc_md=_document(read), auto_register=False) as dag:
            if plan.release is not None:
                _release(read)
            else:
                _before(plan, staged_rollout(**plan.group_arguments()))
        _check_schedule(dag, plan.schedule)
        dag.validate()  # type: ignore[no-untyped-call]
    except InvalidInputError as error:
        raise read.refused(error) from None
    except Exception as error:
        # An error of one file must not hide the other files.
        raise PlanFileError(
            [PlanIssue(read.file, 1, "", f"Airflow does not accept the DAG: {type(error).__name__}: {error}")]
        ) from error
    return dag


def _release(read: LoadedPlan) -> None:
    """Add the tasks of a coordinated release. All flags of a region are created before their order is checked."""
    from airflow.sdk import TaskGroup

    from airflow_provider_ampexp.task_groups.release import make_release

    release = make_release("release", [flag.group_arguments() for flag in read.flags], read.plan.regions)
    groups = [group for region in release.rollouts for group in region]
    for place, (rollout, group) in enumerate(zip(read.rollouts, groups, strict=True)):
        if rollout.plan.create is not None or rollout.plan.inclusions:
            with TaskGroup(f"prepare_{str(group.group_id).removeprefix('release.').replace('.', '_')}") as prepare:
                _before(rollout.plan, group)
            if create := prepare.children.get(f"{prepare.group_id}.create"):
                create >> release.checks[place // len(read.flags)]


def _before(plan: PlanFile, group: TaskGroup) -> None:
    """Add the tasks before the first stage: create the flag, and add the users of ``inclusions``."""
    from airflow_provider_ampexp.operators.inclusions import AmplitudeAddInclusionsOperator
    from airflow_provider_ampexp.operators.lifecycle import (
        AmplitudeCreateExperimentOperator,
        AmplitudeCreateFlagOperator,
    )

    target = plan.target_arguments()
    following: Any = group
    if plan.inclusions:
        following = [
            _named(
                {"variant": f"inclusions.{variant}", "users": f"inclusions.{variant}"},
                partial(AmplitudeAddInclusionsOperator, task_id=f"include_{_as_id(variant)}"),
                **target,
                variant=variant,
                users=users,
            )
            for variant, users in plan.inclusions.items()
        ]
        following >> group
    if plan.create is not None:
        create = AmplitudeCreateFlagOperator if plan.flag is not None else AmplitudeCreateExperimentOperator
        given = plan.create.arguments
        fields = {name: f"create.{name}" for name in given}
        _named(fields, partial(create, task_id="create"), **target, **given) >> following


def _named(fields: Mapping[str, str], make: Callable[..., Any], **given: Any) -> Any:
    """Make a task. The error of an argument names the field of the file."""
    try:
        return make(**given)
    except InvalidInputError as error:
        argument, rest = re.fullmatch(r"(\w*)(.*)", error.field, re.DOTALL).groups()  # type: ignore[union-attr]
        raise InvalidInputError(f"{fields.get(argument, argument)}{rest}", error.problem) from None


def _as_id(name: str) -> str:
    """Return a name as a part of an Airflow id."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _check_schedule(dag: DAG, schedule: str | None) -> None:
    try:
        dag.timetable.validate()
    except Exception as error:
        raise InvalidInputError(
            "schedule", f"expected cron or a preset such as '@once', got {schedule!r}: {error}"
        ) from None


def _document(read: LoadedPlan) -> str:
    """Return the text for the DAG's page in Airflow: the description and the file."""
    return f"{read.plan.description or ''}\n\n`{Path(read.file).name}`:\n\n~~~yaml\n{read.yaml.text}\n~~~\n"
