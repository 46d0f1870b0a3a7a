"""The share of all users that an experiment can reach through its mutual exclusion groups and holdout groups. Pure.

The vendor documents that a user is evaluated for each group, so the shares of the groups are multiplied. The vendor
does not document two assumptions of this module: the shares of the slots of one group are added, and a holdout group
in a slot puts its experiments into that slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_ampexp.client._optional_fields import slots_of
from airflow_provider_ampexp.client.types import Group

Json = Mapping[str, Any]


@dataclass(frozen=True)
class GroupShare:
    """The groups of an experiment.

    :param groups: each group in words, such as ``slot 2 (30 %) of mutual exclusion group 'tests'``
    :param ids: the ids of the groups
    :param percentage: the percentage of all users that the groups leave; ``None`` if a group does not show it
    """

    groups: tuple[str, ...]
    ids: frozenset[str]
    percentage: float | None

    @classmethod
    def of(cls, experiment_id: str, mutexes: Iterable[Group], holdouts: Iterable[Group]) -> GroupShare | None:
        """Find the groups in use in which the experiment is; ``None`` if there are none."""
        keeping = [
            group for group in holdouts if not group.get("deleted") and _lists(group, "experiments", experiment_id)
        ]
        held_in = {group["id"] for group in keeping}
        words, ids, shares = [], set(held_in), []
        for group in mutexes:
            slots = [] if group.get("deleted") else _slots_with(group, experiment_id, held_in)
            if slots:
                share = _sum([slot.get("percentage") for _, slot in slots])
                words.append(f"{_slot_words(slots, share)} of mutual exclusion group {_name(group)}")
                shares.append(share)
                ids.add(group["id"])
        for group in keeping:
            held = _number(group.get("holdoutPercentage"))
            words.append(f"holdout group {_name(group)} (holdout percentage {_percent(held)})")
            shares.append(None if held is None else 100 - held)
        if not words:
            return None
        total = 100.0
        for share in shares:
            if share is None:
                return cls(tuple(words), frozenset(ids), None)
            total = total * share / 100
        return cls(tuple(words), frozenset(ids), total)

    def of_all(self, percentage: float) -> float | None:
        """Return a rollout percentage as a percentage of all users; ``None`` if it is not known."""
        return None if self.percentage is None else percentage * self.percentage / 100

    def describe(self, percentages: Iterable[float], whole: str = "all users") -> str:
        """Describe the groups, and convert the percentages to percentages of all users.

        :param percentages: rollout percentages of the experiment
        :param whole: the users to whom the percentages refer, in words
        """
        groups = f"in {', and in '.join(self.groups)}"
        if self.percentage is None:
            return f"{groups}; its percentages are of a part of {whole}, and the size of that part is not shown"
        parts = [f"{percentage:g} % is {self.of_all(percentage):.4g} %" for percentage in percentages]
        return f"{groups}, so {', '.join(parts)} of {whole}"


def _slots_with(group: Group, experiment_id: str, holdouts: set[str]) -> list[tuple[int, Json]]:
    return [
        (index, slot)
        for index, slot in slots_of(group)
        if _lists(slot, "experiments", experiment_id) or any(_lists(slot, "holdouts", id) for id in holdouts)
    ]


def _lists(part: Json | Group, name: str, id: str) -> bool:
    listed = part.get(name)
    return isinstance(listed, list) and id in listed


def _slot_words(slots: Sequence[tuple[int, Json]], share: float | None) -> str:
    indexes = [str(index) for index, _ in slots]
    return f"slot{'s' if len(slots) > 1 else ''} {' and '.join(indexes)} ({_percent(share)})"


def _sum(percentages: Iterable[object]) -> float | None:
    total = 0.0
    for percentage in map(_number, percentages):
        if percentage is None:
            return None
        total += percentage
    return total


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 100 else None  # type: ignore[arg-type, operator]


def _percent(value: float | None) -> str:
    return "not shown" if value is None else f"{value:g} %"


def _name(group: Group) -> str:
    return repr(group.get("key") or group.get("name") or group["id"])
