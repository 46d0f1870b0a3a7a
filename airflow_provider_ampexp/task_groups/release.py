"""A coordinated release: several flags in order, in one region after the other, with one rollback for all flags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from airflow.sdk import TaskGroup

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.ensure._flag_ref import FLAG_WAYS
from airflow_provider_ampexp.operators._rollout.group_rollback import AmplitudeRollbackOperator
from airflow_provider_ampexp.operators._rollout.release_order import AmplitudeReleaseOrderOperator
from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._plan import PARAMETERS
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.sensors.rollout import AmplitudeRolloutSensor
from airflow_provider_ampexp.task_groups.rollout import staged_rollout

__all__ = ["coordinated_release"]

_CONNECTION = "amplitude_conn_id"
_NOT_IN_AN_ID = r"[^A-Za-z0-9_-]"


def coordinated_release(
    group_id: str = "release",
    *,
    flags: Sequence[str | Mapping[str, Any]],
    connections: Sequence[str] | Mapping[str, str] | None = None,
    **rollout: Any,
) -> TaskGroup:
    """Make a task group that releases several flags one after the other, in one region after the other.

    Each flag is a :func:`~airflow_provider_ampexp.task_groups.rollout.staged_rollout`. The next flag begins after the
    last stage of the flag before it. The next region begins when all flags of the region before it are released.

    The first task of each region, ``check_order``, compares the order with the live dependencies. If a flag comes
    before a flag that it depends on, ``check_order`` fails before any flag is raised.

    If one task fails, all flags that this run raised are rolled back: the last flag of a region first, and all regions
    at the same time. A rollback that fails does not stop the others. A flag that another actor changed stays as it is.

    :param group_id: the name of the group
    :param flags: the flags in the order of the release, each as its key or as arguments of ``staged_rollout``:
        ``{"experiment_key": "checkout", "soak": "1d"}``. A flag comes after the flags that it depends on.
    :param connections: the connections of the regions, in the order of the release: a list, or a mapping with the names
        of the regions as keys. If not given, all tasks use one connection, ``amplitude_conn_id``.
    :param rollout: the arguments of ``staged_rollout`` for all flags: ``stages`` or ``plan``, ``soak``, ``guardrails``
    :raises InvalidInputError: when Airflow parses the DAG; names the argument
    """
    of_flags = [_flag(place, flag, rollout) for place, flag in enumerate(_listed("flags", flags, "a list of flags"))]
    return make_release(group_id, of_flags, connections).group


@dataclass(frozen=True)
class Release:
    """The tasks of a coordinated release.

    :param checks: the first task of each region
    :param rollouts: the group of each flag, by region
    """

    group: TaskGroup
    checks: list[AmplitudeReleaseOrderOperator]
    rollouts: list[list[TaskGroup]]


def make_release(
    group_id: str, flags: Sequence[Mapping[str, Any]], connections: Sequence[str] | Mapping[str, str] | None
) -> Release:
    """Make the tasks of a release.

    :param flags: the arguments of ``staged_rollout`` for each flag
    """
    if not flags:
        raise InvalidInputError("flags", "expected at least one flag, got none")
    _check_ids("flags", [str(_name(flag)) for flag in flags])
    regions = _regions(flags, connections)
    checks: list[AmplitudeReleaseOrderOperator] = []
    rollouts: list[list[TaskGroup]] = []
    with TaskGroup(group_id) as group:
        before: list[Any] = []
        for place, (region, connection) in enumerate(regions.items(), 1):
            with TaskGroup(region) if region else nullcontext():
                checks.append(_check(flags, connection))
                rollouts.append([staged_rollout(_group_id(flag), **{**flag, **connection}) for flag in flags])
                for tasks in map(_stages, rollouts[-1]):
                    _follow(before, tasks[0])
                    before = [tasks[-1]]
                if place < len(regions):
                    released = _released(flags, connection)
                    _follow(before, released)
                    before = [released]
        _follow(checks, _stages(rollouts[0][0])[0])
        _roll_back_together(rollouts)
    return Release(group, checks, rollouts)


def _flag(place: int, flag: object, rollout: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of one flag: its own arguments, and those for all flags that it does not replace."""
    if isinstance(flag, str):
        return {**rollout, "flag_key": flag}
    if not isinstance(flag, Mapping):
        raise InvalidInputError(f"flags[{place}]", f"expected a key, or arguments of staged_rollout, got {flag!r}")
    replaced = {"plan", *PARAMETERS} if flag.get("plan") is not None else ()
    return {**{name: value for name, value in rollout.items() if name not in replaced}, **flag}


def _regions(
    flags: Sequence[Mapping[str, Any]], connections: Sequence[str] | Mapping[str, str] | None
) -> dict[str, dict[str, str]]:
    """Return the argument of the connection by region. Without regions, the only name is empty."""
    given = {flag.get(_CONNECTION) for flag in flags}
    if connections is not None and given != {None}:
        raise InvalidInputError(_CONNECTION, "expected amplitude_conn_id or connections, got both")
    if len(given) > 1:
        raise InvalidInputError(_CONNECTION, "must be the same for all flags; for regions give connections")
    if connections is None:
        only = given.pop()
        return {"": {} if only is None else {_CONNECTION: only}}
    return {name: {_CONNECTION: connection} for name, connection in _named(connections)}


def _named(connections: Sequence[str] | Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the connection of each region.

    :raises InvalidInputError: when a name is invalid, or the tasks of two regions would have the same ids
    """
    given = (
        connections if isinstance(connections, Mapping) else _listed("connections", connections, "a list or a mapping")
    )
    if not given:
        raise InvalidInputError("connections", "expected at least one connection, got none")
    if isinstance(given, Mapping):
        for name, connection in given.items():
            if not isinstance(name, str) or not name or re.search(_NOT_IN_AN_ID, name):
                raise InvalidInputError("connections", f"expected a name of letters, digits, _ and -, got {name!r}")
            yield name, validate.text(f"connections.{name}", connection)
        return
    names = [validate.text(f"connections[{place}]", connection) for place, connection in enumerate(given)]
    _check_ids("connections", names)
    yield from zip(map(_as_id, names), names, strict=True)


def _listed(field: str, given: object, expected: str) -> list[Any]:
    """Return the entries of a list. Refuse a set, which has no order, and a text, which would be a list of letters."""
    if isinstance(given, str | bytes | Mapping | Set) or not isinstance(given, Iterable):
        raise InvalidInputError(field, f"expected {expected}, got {given!r}")
    return list(given)


def _check_ids(field: str, names: Sequence[str]) -> None:
    """Refuse two names whose tasks would have the same ids."""
    known: dict[str, str] = {}
    for place, name in enumerate(names):
        if (other := known.get(_as_id(name))) is not None:
            problem = f"{name!r} is given twice" if name == other else f"{other!r} and {name!r} have the same task ids"
            raise InvalidInputError(f"{field}[{place}]", problem)
        known[_as_id(name)] = name


def _check(flags: Sequence[Mapping[str, Any]], connection: Mapping[str, str]) -> AmplitudeReleaseOrderOperator:
    return AmplitudeReleaseOrderOperator(task_id="check_order", flags=[_target(flag) for flag in flags], **connection)


def _released(flags: Sequence[Mapping[str, Any]], connection: Mapping[str, str]) -> Any:
    """Return the task that waits until all flags of a region are at their last stages."""
    wanted = [{**_target(flag), "at_least": _last_stage(flag), "segment": _segment(flag)} for flag in flags]
    known = [{name: value for name, value in sensor.items() if value is not None} for sensor in wanted]
    return AmplitudeRolloutSensor.partial(task_id="released", deferrable=True, **connection).expand_kwargs(known)


def _roll_back_together(rollouts: Sequence[Sequence[TaskGroup]]) -> None:
    """Make each rollback wait for all stages of the release, and for the rollback of the next flag of its region."""
    stages = [task for region in rollouts for group in region for task in _stages(group)]
    for region in rollouts:
        backs = [next(task for task in _tasks(group) if _is_rollback(task)) for group in region]
        for back in backs:
            back.set_upstream([task for task in stages if task.task_id not in back.upstream_task_ids])
        for earlier, later in pairwise(backs):
            later >> earlier


def _tasks(group: TaskGroup) -> list[Any]:
    return list(group.children.values())


def _stages(group: TaskGroup) -> list[Any]:
    """Return the stages and approvals of a flag, in their order."""
    return [task for task in _tasks(group) if not _is_rollback(task)]


def _is_rollback(task: object) -> bool:
    return isinstance(task, AmplitudeRollbackOperator)


def _follow(before: Sequence[Any], task: Any) -> None:
    task.set_upstream(list(before))


def _target(flag: Mapping[str, Any]) -> dict[str, Any]:
    return {name: flag[name] for name in (*FLAG_WAYS, "project_id") if flag.get(name) is not None}


def _name(flag: Mapping[str, Any]) -> object:
    return next((flag[name] for name in FLAG_WAYS if flag.get(name) is not None), "flag")


def _group_id(flag: Mapping[str, Any]) -> str:
    return _as_id(str(_name(flag)))


def _last_stage(flag: Mapping[str, Any]) -> int:
    plan = flag.get("plan")
    stages = plan.all_stages if isinstance(plan, RolloutPlan) else parse_stages(flag["stages"])
    return stages[-1].percentage


def _segment(flag: Mapping[str, Any]) -> Any:
    plan = flag.get("plan")
    return plan.segment if isinstance(plan, RolloutPlan) else flag.get("segment")


def _as_id(name: str) -> str:
    """Return a name as the id of a group."""
    return re.sub(_NOT_IN_AN_ID, "_", name)
