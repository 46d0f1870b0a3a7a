"""Inclusions are removed by place. Only named users may be removed, also after lost responses.

The lists, the changes and the faults of the writes are random, and Maria edits the list between a read and a write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeResult,
    ensure_exactly_included,
    ensure_included,
    ensure_no_inclusions,
    ensure_not_included,
)

from .trial import WRITE_METHODS, BeforeEachWrite
from .world import IDS, a_client, by_id, wait_for_late_work

TIMEOUT = 0.15
VARIANT = "on/off ü"
PEOPLE = st.sampled_from(["anna", "bob", "c/d", "ü ü", "e%2F", "日本", "?#&"])

FAULTS: dict[str, dict[str, Any]] = {
    "cut_before": {"kind": "cut_before"},
    "cut_after": {"kind": "cut_after"},
    "cut_body": {"kind": "cut_body"},
    "500": {"kind": "status", "status": 500},
    "500 after work": {"kind": "status", "status": 500, "after_work": True},
    "502": {"kind": "html"},
    "429": {"kind": "status", "status": 429},
    # The list became shorter before the removal.
    "404": {"kind": "status", "status": 404, "methods": ["DELETE"]},
    "slow": {"kind": "slow", "seconds": 1.5 * TIMEOUT},
    "slow after work": {"kind": "slow_after", "seconds": 1.5 * TIMEOUT},
}


@dataclass(frozen=True)
class Edit:
    """An edit of the list by Maria: she adds a user, or removes the user at a place."""

    add: str | None = None
    remove: int | None = None

    def carry_out(self, maria: ManagementClient) -> str | None:
        """Apply the edit, and return the user whom Maria removed."""
        if self.add is not None:
            maria.flags.add_inclusions(IDS["flags"], VARIANT, [self.add])
            return None
        there = maria.flags.inclusions(IDS["flags"], VARIANT)
        if not there or self.remove is None:
            return None
        place = self.remove % len(there)
        maria.flags.remove_inclusion(IDS["flags"], VARIANT, place)
        return there[place]


@dataclass
class Trial:
    """One run of a change of a list."""

    emulator: Emulator
    before: list[str]
    removed_by_maria: list[str]
    added_by_maria: list[str]
    outcome: ChangeResult | None = None
    after: list[str] | None = None

    @classmethod
    def run(
        cls,
        emulator: Emulator,
        before: list[str],
        change: Callable[[ManagementClient], ChangeResult],
        faults: list[str] = [],  # noqa: B006
        edits: dict[int, Edit] = {},  # noqa: B006
        by_value: bool = False,
    ) -> Trial:
        emulator.reset()
        emulator.settings(extra_endpoints=by_value)
        variants = [{"key": VARIANT}, {"key": "other"}]
        inclusions = {VARIANT: before, "other": ["zoe", "anna"]}
        emulator.load(
            {"flags": [{"id": IDS["flags"], "key": "checkout", "variants": variants, "inclusions": inclusions}]}
        )
        trial = cls(emulator, before, [], [])
        with ManagementClient("ampex_maria", base_url=emulator.base_url) as maria:

            def happens(number: int) -> None:
                edit = edits.get(number)
                if edit is not None:
                    removed = edit.carry_out(maria)
                    trial.removed_by_maria += [removed] if removed is not None else []
                    trial.added_by_maria += [edit.add] if edit.add is not None else []
                if number < len(faults) and faults[number] != "none":
                    emulator.fault(**{"methods": WRITE_METHODS, **FAULTS[faults[number]]})

            with a_client(emulator, timeout=TIMEOUT, session=BeforeEachWrite(happens)) as client:
                trial.outcome = change(client)
        wait_for_late_work(emulator)
        trial.after = emulator.inclusions("flags", IDS["flags"], VARIANT)
        return trial

    def nobody_else_was_hit(self, named: Callable[[str], bool]) -> None:
        assert self.after is not None
        before, after = Counter(self.before) + Counter(self.added_by_maria), Counter(self.after)
        gone = Counter({user: count for user, count in (before - after).items() if not named(user)})
        log_warnings = " ".join(self.outcome.notes if self.outcome is not None else ())
        vanished = gone - Counter(self.removed_by_maria)
        assert all(user in log_warnings for user in vanished), f"vanished: {gone}, notes: {log_warnings}"
        doubled = {user for user, count in after.items() if count > max(1, before[user])}
        assert not doubled, f"there more often than before: {doubled}"
        assert self.emulator.inclusions("flags", IDS["flags"], "other") == ["zoe", "anna"]


OPERATIONS = ("include", "exclude", "exactly", "clear")
EDITS = st.dictionaries(
    st.integers(0, 2),
    st.one_of(st.builds(Edit, add=st.sampled_from(["maria-1", "maria/2"])), st.builds(Edit, remove=st.integers(0, 7))),
    max_size=1,
)


def change_of(operation: str, named: list[str]) -> Callable[[ManagementClient], ChangeResult]:
    target = by_id("flags")
    return {
        "include": lambda client: ensure_included(client, target, VARIANT, named),
        "exclude": lambda client: ensure_not_included(client, target, VARIANT, named),
        "exactly": lambda client: ensure_exactly_included(client, target, VARIANT, named),
        "clear": lambda client: ensure_no_inclusions(client, target, VARIANT),
    }[operation]


@settings(
    max_examples=80,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    before=st.lists(PEOPLE, max_size=7),
    operation=st.sampled_from(OPERATIONS),
    named=st.lists(PEOPLE, min_size=1, max_size=4),
    faults=st.lists(st.sampled_from(["none", *FAULTS]), max_size=3).filter(lambda them: them.count("slow") < 2),
    edits=EDITS,
    by_value=st.booleans(),
)
def test_nobody_is_hit_who_was_not_named(
    emulator: Emulator,
    before: list[str],
    operation: str,
    named: list[str],
    faults: list[str],
    edits: dict[int, Edit],
    by_value: bool,
) -> None:
    """Users are removed by value, or by place after the service has refused a removal by value."""
    assume(operation != "clear" or "404" not in faults)  # the only call of a clear fails then, as expected
    check(emulator, before, operation, named, faults, edits, by_value)


def check(
    emulator: Emulator,
    before: list[str],
    operation: str,
    named: list[str],
    faults: list[str],
    edits: dict[int, Edit],
    by_value: bool = False,
) -> Trial:
    trial = Trial.run(emulator, before, change_of(operation, named), faults, edits, by_value)
    after = trial.after
    assert after is not None
    assert trial.outcome is not None
    if operation == "include":
        assert set(named) <= set(after)
        trial.nobody_else_was_hit(lambda user: False)
    elif operation == "exclude":
        assert not set(named) & set(after)
        trial.nobody_else_was_hit(lambda user: user in named)
    elif operation == "exactly":
        assert set(after) == set(named)
        trial.nobody_else_was_hit(lambda user: user not in named)
    else:
        assert after == []
    assert trial.outcome.after["count"] == len(after)  # type: ignore[index,call-overload]
    return trial


@pytest.mark.parametrize(
    ("before", "operation", "named", "faults"),
    [
        (["a", "x", "a", "b"], "exclude", ["a"], ["none", "slow"]),
        (["a", "x", "a", "b"], "exactly", ["x", "b"], ["none", "slow"]),
        (["a", "a", "a", "x", "y"], "exclude", ["a"], ["none", "none", "slow"]),
    ],
)
def test_the_second_removal_of_one_person_is_late(
    emulator: Emulator, before: list[str], operation: str, named: list[str], faults: list[str]
) -> None:
    check(emulator, before, operation, named, faults, {})


@pytest.mark.parametrize("operation", ["include", "exclude", "exactly"])
@pytest.mark.parametrize("edit", [Edit(add="maria"), Edit(remove=0), Edit(remove=1), Edit(remove=3)], ids=str)
def test_maria_edits_the_list_between_the_read_and_the_write(emulator: Emulator, operation: str, edit: Edit) -> None:
    for number in range(2):
        check(emulator, ["anna", "bob", "c/d", "dora"], operation, ["c/d", "anna", "new"], [], {number: edit})


def test_whoever_was_put_back_is_named(emulator: Emulator) -> None:
    trial = check(emulator, ["x", "a", "b"], "exclude", ["a"], [], {0: Edit(remove=0)})
    assert trial.outcome is not None
    assert trial.outcome.changed
    (note,) = trial.outcome.notes
    assert "b" in note.partition(":")[2]


def test_whom_maria_removed_stays_removed_where_we_removed_nobody(emulator: Emulator) -> None:
    trial = check(emulator, ["x", "a", "b"], "include", ["new"], [], {0: Edit(remove=0)})
    assert trial.removed_by_maria == ["x"]
    assert trial.after == ["a", "b", "new"]


def test_whom_maria_removed_stays_removed_where_our_removal_found_nobody(emulator: Emulator) -> None:
    trial = check(emulator, ["x", "a"], "exclude", ["a"], [], {0: Edit(remove=0)})
    assert trial.removed_by_maria == ["x"]
    assert trial.after == []
