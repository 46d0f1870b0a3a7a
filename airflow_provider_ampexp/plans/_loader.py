"""Read a plan file, and collect all its mistakes with line and field."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from airflow_provider_ampexp._validate import InvalidInputError, nearest
from airflow_provider_ampexp.plans._alert_models import EmailAlert, OtherAlert, PagerDutyAlert, SlackAlert
from airflow_provider_ampexp.plans._errors import FieldPath, PlanFileError, PlanIssue, named
from airflow_provider_ampexp.plans._guardrail_models import CallableFields, HoldbackFields, SampleRatioFields, SqlFields
from airflow_provider_ampexp.plans._models import (
    ARGUMENTS,
    OF_THE_DAG,
    TARGETS,
    CreateFields,
    PlanFile,
    StageFields,
    WindowFields,
)
from airflow_provider_ampexp.plans._preview_model import PreviewFields
from airflow_provider_ampexp.plans._types import shown
from airflow_provider_ampexp.plans._yaml import YamlDocument, YamlError
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._plan import ALERTS

_FIELDS = {argument: field for field, argument in ARGUMENTS.items()} | {"connections": "regions", "flags": "release"}
_MODELS: dict[str, type[BaseModel]] = {
    "stage": StageFields,
    "window": WindowFields,
    "create": CreateFields,
    "preview": PreviewFields,
    "sql": SqlFields,
    "sample_ratio": SampleRatioFields,
    "holdback": HoldbackFields,
    "callable": CallableFields,
    "slack": SlackAlert,
    "email": EmailAlert,
    "pagerduty": PagerDutyAlert,
    "notifier": OtherAlert,
}
_UNIONS = ("stages", "guardrails", *ALERTS)
_EMPTY = "must not be empty; remove it, or give it a value"
_LARGEST = 1_000_000  # bytes
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a group of fields",
    "model_type": "a group of fields",
    "model_attributes_type": "a group of fields",
}


@dataclass(frozen=True)
class LoadedPlan:
    """A valid plan file.

    :param file: the file, as named by the caller
    :param plan: its plan
    :param yaml: its text and lines
    :param flags: for a coordinated release the plan of each flag, in their order
    :param path: the place of the plan in its file
    """

    file: str
    plan: PlanFile
    yaml: YamlDocument
    flags: tuple[PlanFile, ...] = ()
    path: FieldPath = ()

    @property
    def rollouts(self) -> list[LoadedPlan]:
        """The rollouts of the file: one, or one for each flag and region of a coordinated release."""
        regions = self.plan.regions if self.plan.regions is not None else [None]
        connections = regions.values() if isinstance(regions, dict) else regions
        return [
            LoadedPlan(self.file, _in_region(plan, connection), self.yaml, (), ("release", place))
            for connection in connections
            for place, plan in enumerate(self.flags)
        ] or [self]

    def refused(self, error: InvalidInputError) -> PlanFileError:
        """Return the error for a mistake that is found only when the tasks are created."""
        return PlanFileError([_mistake(self.file, self.yaml, (*self.path, *_path(error.field)), error.problem)])

    def conflict(self, problem: str) -> PlanIssue:
        """Return a mistake at the field that names the flag or experiment: the rollout disagrees with another file."""
        field = next(name for name in TARGETS if getattr(self.plan, name) is not None)
        return _mistake(self.file, self.yaml, (*self.path, field), problem)


def _in_region(plan: PlanFile, connection: str | None) -> PlanFile:
    return plan if connection is None else plan.model_copy(update={"connection": connection})


def read_plan(path: Path, defaults: Mapping[str, Any] | None = None) -> LoadedPlan:
    """Read one file.

    :param defaults: values for missing fields
    :raises PlanFileError: with all mistakes
    """
    file = str(path)
    try:
        yaml = YamlDocument(_content(path))
    except YamlError as error:
        raise PlanFileError([PlanIssue(file, *mistake) for mistake in error.found]) from None
    except OSError as error:
        raise PlanFileError([PlanIssue(file, 1, "", f"cannot be read: {error.strerror}")]) from None
    if not isinstance(yaml.value, dict):
        problem = "is empty" if yaml.value is None else f"expected fields with their values, got {shown(yaml.value)}"
        raise PlanFileError([PlanIssue(file, 1, "", problem)])
    said = {**(defaults or {}), **yaml.value}
    if "regions" in yaml.value and "connection" not in yaml.value:
        said.pop("connection", None)  # the regions replace the default connection
    empty = dict.fromkeys(_empty_fields(said), _EMPTY)
    try:
        plan = PlanFile.model_validate({**said, "dag_id": said.get("dag_id", path.stem)})
        found = []
    except ValidationError as error:
        found = [(path, problem) for path, problem in _told(error) if path not in empty]
    if mistakes := [*found, *empty.items()]:
        raise PlanFileError([_mistake(file, yaml, *mistake) for mistake in mistakes])
    return LoadedPlan(file, plan, yaml, _flags_of_release(file, yaml, said))


def _flags_of_release(file: str, yaml: YamlDocument, said: Mapping[str, Any]) -> tuple[PlanFile, ...]:
    """Read the plan of each flag: its own fields, otherwise those of the release.

    :raises PlanFileError: with all mistakes of all flags
    """
    common = {name: value for name, value in said.items() if name not in OF_THE_DAG}
    plans: list[PlanFile] = []
    mistakes: list[PlanIssue] = []
    for place, own in enumerate(said.get("release") or ()):
        found: list[tuple[FieldPath, str]] = [((name,), "belongs to the release") for name in own if name in OF_THE_DAG]
        found += [(path, _EMPTY) for path in _empty_fields(own)]
        try:
            if not found:
                plans.append(PlanFile.model_validate({**common, **own}))
        except ValidationError as error:
            found = list(_told(error))
        mistakes += [_mistake(file, yaml, ("release", place, *path), problem) for path, problem in found]
    if mistakes:
        raise PlanFileError(mistakes)
    return tuple(plans)


def _empty_fields(said: Mapping[str, Any]) -> Iterator[FieldPath]:
    """Yield each field without a value: an empty ``window:`` would mean any time."""
    for name, value in said.items():
        if value is None:
            yield (name,)
        parts: list[tuple[FieldPath, dict[str, Any]]] = []
        if isinstance(value, dict) and name in ("window", "create", "preview"):
            parts = [((name,), value)]
        if isinstance(value, list) and name in _UNIONS:
            parts = [((name, place), part) for place, part in enumerate(value) if isinstance(part, dict)]
        yield from ((*path, field) for path, part in parts for field, given in part.items() if given is None)


def _content(path: Path) -> bytes:
    """Read a regular file of a limited size. A named pipe would hang, and a huge file would fill the memory.

    :raises OSError: with the problem as its ``strerror``
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise OSError(0, f"it is {kind}")
    if status.st_size > _LARGEST:
        raise OSError(0, f"expected at most {_LARGEST:,} bytes, got {status.st_size:,}")
    return path.read_bytes()


def load_plan(path: str | os.PathLike[str]) -> RolloutPlan:
    """Read a rollout's plan from a YAML file, for ``plan=`` of an operator or of ``staged_rollout``.

    The operator names the flag and the DAG. Only :func:`~airflow_provider_ampexp.plans.rollout_dags` uses the file's
    fields about these.

    :param path: the file, relative to the calling file
    :raises PlanFileError: with all mistakes, each with its line
    """
    here = Path(sys._getframe(1).f_globals.get("__file__") or "").parent
    return read_plan(here / path).plan.rollout_plan()


def read_plans(paths: Iterable[Path], defaults: Mapping[str, Any] | None = None) -> list[LoadedPlan | PlanFileError]:
    """Read files, and all files of folders.

    :raises NotADirectoryError: when a path is neither a file nor a folder
    :raises InvalidInputError: when a default is not a field
    """
    for name in defaults or ():
        if name not in PlanFile.model_fields:
            raise InvalidInputError(name, _unknown(name, PlanFile))
    read: list[LoadedPlan | PlanFileError] = []
    for path in dict.fromkeys(file for given in paths for file in plan_files(given)):
        try:
            read.append(read_plan(path, defaults))
        except PlanFileError as error:
            read.append(error)
        except Exception as error:  # an error of one file must not hide the other files
            why = f"cannot be read: {type(error).__name__}: {error}"
            read.append(PlanFileError([PlanIssue(str(path), 1, "", why)]))
    return [_alone(loaded, read) for loaded in read]


def plans_of_one_flag(read: Iterable[LoadedPlan | PlanFileError]) -> Iterator[PlanIssue]:
    """Yield a mistake for each file that ramps the same flag and segment as a file before it."""
    known: dict[tuple[str, ...], LoadedPlan] = {}
    for plan in (rollout for loaded in read if isinstance(loaded, LoadedPlan) for rollout in loaded.rollouts):
        first = known.setdefault(plan.plan.what_it_ramps, plan)
        if first is not plan:
            yield plan.conflict(
                f"{first.file} ramps the same flag; each rollout would stop at the changes of the other"
            )


def plan_files(folder: Path) -> list[Path]:
    """Return the files of a folder and its subfolders by name, without hidden files; or the one file.

    :raises NotADirectoryError: when the path is neither
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder or a plan file, but {str(folder)!r} does not exist")
    found = (path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml"))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _alone(loaded: LoadedPlan | PlanFileError, read: list[LoadedPlan | PlanFileError]) -> LoadedPlan | PlanFileError:
    """Return an error if another file has the same DAG. Neither file is loaded, because the wrong one might run."""
    if isinstance(loaded, PlanFileError):
        return loaded
    twins = [
        two
        for two in read
        if isinstance(two, LoadedPlan) and two is not loaded and two.plan.dag_id == loaded.plan.dag_id
    ]
    if not twins:
        return loaded
    problem = f"{twins[0].file} also has {loaded.plan.dag_id!r}, so neither is loaded; rename one"
    return PlanFileError([_mistake(loaded.file, loaded.yaml, ("dag_id",), problem)])


def _mistake(file: str, yaml: YamlDocument, path: FieldPath, problem: str) -> PlanIssue:
    return PlanIssue(file, yaml.line_of(path), named(path), problem)


def _told(error: ValidationError) -> Iterator[tuple[FieldPath, str]]:
    """Yield pydantic's errors by field, in this package's words."""
    for mistake in error.errors(include_url=False):
        tag, path = _tag(mistake["loc"]), _without_tag(mistake["loc"])
        kind, given, context = mistake["type"], mistake["input"], mistake.get("ctx", {})
        if kind == "refused":
            for field, problem in context["refused"]:
                yield _joined(path, _path(field)), problem
        elif kind == "missing":
            yield path, "is missing"
        elif kind == "extra_forbidden":
            yield path, _unknown(str(path[-1]), _MODELS.get(tag, PlanFile))
        elif kind == "too_short":
            yield path, "must not be empty"
        elif kind in _KINDS:
            in_quotes = "; put it in quotes" if kind == "string_type" and isinstance(given, int | float) else ""
            yield path, f"expected {_KINDS[kind]}, got {shown(given)}{in_quotes}"
        elif kind == "union_tag_not_found":
            yield (*path, "kind"), f"is missing; expected {_kinds(path)}"
        elif kind == "union_tag_invalid":
            yield (*path, "kind"), f"expected {_kinds(path)}, got {shown(context['tag'])}"
        else:
            yield path, mistake["msg"] if kind == "wrong" else f"{shown(given)} {_in_our_words(mistake['msg'])}"


def _kinds(path: FieldPath) -> str:
    if path[0] == "guardrails":
        return "'sql', 'sample_ratio', 'holdback' or 'callable'"
    return "'slack', 'email', 'pagerduty' or 'notifier'"


def _in_our_words(message: str) -> str:
    """Remove the subject of a pydantic message, because the value comes before it."""
    return re.sub(r"^(Input|String|List) should ", "should ", message)


def _unknown(name: str, model: type[BaseModel]) -> str:
    near = nearest(name, model.model_fields)
    if not near and name in PlanFile.model_fields:
        return "is a top-level field; check the indentation"
    return f"is an unknown field{near}"


def _tag(loc: FieldPath) -> str:
    """Return pydantic's tag: the form of a stage, the kind of a guardrail, or the group of fields."""
    place = 2 if loc and loc[0] in _UNIONS else 0
    return str(loc[place]) if len(loc) > max(place, 1) else ""


def _without_tag(loc: FieldPath) -> FieldPath:
    return (*loc[:2], *loc[3:]) if loc and loc[0] in _UNIONS else loc


def _joined(path: FieldPath, field: FieldPath) -> FieldPath:
    """Return the path of a field that a rule names, relative to the place of the rule."""
    return (*path[:-1], *field) if path and field and path[-1] == field[0] else (*path, *field)


def _path(field: str) -> FieldPath:
    """Return the path in a file for an operator's field such as ``stages[1].soak``."""
    parts = re.findall(r"[^.\[\]]+", field)
    path = tuple(int(part) if part.isdigit() else part for part in parts)
    return (_FIELDS.get(str(path[0]), path[0]), *path[1:]) if path else ()
