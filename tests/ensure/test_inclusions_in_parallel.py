"""Several tasks change the inclusions of one variant at the same time, and no other user is removed."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from itertools import combinations, permutations

import pytest

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    ChangeResult,
    UnconfirmedWriteError,
    ensure_exactly_included,
    ensure_included,
    ensure_no_inclusions,
    ensure_not_included,
)
from airflow_provider_ampexp.ensure import _inclusion_list as inclusion_list
from airflow_provider_ampexp.ensure._removal import possibly_removed

from .world import IDS, a_client, by_id

VARIANT = "on"
PEOPLE = [f"user-{number}" for number in range(12)]
Change = Callable[[ManagementClient], ChangeResult]


def seed(emulator: Emulator, *, by_value: bool, people: list[str] = PEOPLE) -> None:
    emulator.reset()
    emulator.settings(extra_endpoints=by_value, rate_per_second=None)
    emulator.load({"flags": [{"id": IDS["flags"], "key": "checkout", "inclusions": {VARIANT: people}}]})


def removes(*users: str) -> Change:
    return lambda client: ensure_not_included(client, by_id("flags"), VARIANT, users)


def adds(*users: str) -> Change:
    return lambda client: ensure_included(client, by_id("flags"), VARIANT, users)


def at_once(emulator: Emulator, changes: list[Change]) -> tuple[list[ChangeResult], list[Exception]]:
    """Run each change in a thread with its own client. All threads begin at the same time."""
    outcomes: list[ChangeResult] = []
    errors: list[Exception] = []
    start = threading.Barrier(len(changes))

    def run(change: Change) -> None:
        with a_client(emulator, timeout=5, retry_for=20) as client:
            start.wait()
            try:
                outcomes.append(change(client))
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=run, args=(change,)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes, errors


def included(emulator: Emulator) -> list[str]:
    return emulator.inclusions("flags", IDS["flags"], VARIANT)


def log_warnings(outcomes: list[ChangeResult], errors: list[Exception]) -> str:
    return " ".join([*(note for outcome in outcomes for note in outcome.notes), *map(str, errors)])


@pytest.mark.parametrize("by_value", [False, True], ids=["by place", "by value"])
@pytest.mark.parametrize("number", range(5))
def test_parallel_removals_remove_whom_they_name_and_nobody_else(
    emulator: Emulator, by_value: bool, number: int
) -> None:
    seed(emulator, by_value=by_value)
    named = random.Random(number).sample(PEOPLE, 4)
    outcomes, errors = at_once(emulator, [removes(user) for user in named])
    assert not errors
    assert Counter(included(emulator)) == Counter(set(PEOPLE) - set(named))
    assert not log_warnings(outcomes, errors)


@pytest.mark.parametrize("by_value", [False, True], ids=["by place", "by value"])
@pytest.mark.parametrize("number", range(4))
def test_parallel_removals_and_additions_all_apply_where_answers_are_lost(
    emulator: Emulator, by_value: bool, number: int
) -> None:
    seed(emulator, by_value=by_value)
    chance = random.Random(number)
    going = chance.sample(PEOPLE, 4)
    coming = ["new-1", "new-2", "new-3"]
    for _ in range(3):
        emulator.fault(chance.choice(["cut_after", "cut_before"]), methods=["POST", "DELETE"], times=1)
    changes = [removes(*going[:2]), removes(going[2]), removes(going[3])]
    changes += [adds("new-1", "new-2"), adds("new-2", "new-3"), adds(PEOPLE[0])]
    _, errors = at_once(emulator, changes)
    assert not errors
    expected = (set(PEOPLE) - set(going)) | set(coming)
    # The addition of the first user may be before or after the removal.
    assert Counter(included(emulator)) - Counter([PEOPLE[0]]) == Counter(expected - {PEOPLE[0]})


@pytest.fixture
def tasks_on_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the lock, because tasks on different machines cannot wait for each other."""
    monkeypatch.setattr(inclusion_list, "in_turn", lambda *names: nullcontext())


@pytest.mark.usefixtures("tasks_on_other_machines")
@pytest.mark.parametrize("by_value", [False, True], ids=["by place", "by value"])
@pytest.mark.parametrize("number", range(6))
def test_removals_on_different_machines_say_whom_they_may_have_hit(
    emulator: Emulator, by_value: bool, number: int
) -> None:
    seed(emulator, by_value=by_value)
    named = random.Random(number).sample(PEOPLE, 4)
    outcomes, errors = at_once(emulator, [removes(user) for user in named])
    left = Counter(included(emulator))
    assert max(left.values()) == 1, f"there twice: {left}"
    told = log_warnings(outcomes, errors)
    for user in set(PEOPLE) - set(named) - set(left):
        assert user in told, f"{user} vanished and no task says so"
    if by_value:
        assert not errors
        assert set(left) == set(PEOPLE) - set(named)


@pytest.mark.usefixtures("tasks_on_other_machines")
def test_a_user_whom_two_tasks_add_again_is_in_the_list_once(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(emulator, by_value=False)
    with a_client(emulator) as client, a_client(emulator) as other:
        flags, flag_id = client.flags, IDS["flags"]
        remove, add = flags.remove_inclusion, flags.add_inclusions

        def remove_second(flag: str, variant: str, place: int) -> None:
            other.flags.remove_inclusion(flag_id, VARIANT, 2)
            monkeypatch.setattr(flags, "remove_inclusion", remove)
            remove(flag, variant, place)  # removes user-4 in place of user-3

        def add_second(flag: str, variant: str, users: list[str]) -> None:
            other.flags.add_inclusions(flag_id, VARIANT, users)
            add(flag, variant, users)

        monkeypatch.setattr(flags, "remove_inclusion", remove_second)
        monkeypatch.setattr(flags, "add_inclusions", add_second)
        result = removes("user-3")(client)
    assert Counter(included(emulator)) == Counter(set(PEOPLE) - {"user-2", "user-3"})
    assert result.after["count"] == len(PEOPLE) - 2
    assert "added them again: user-4" in " ".join(result.notes)


@pytest.mark.usefixtures("tasks_on_other_machines")
def test_an_addition_in_the_moment_of_a_clearing_stands(emulator: Emulator) -> None:
    seed(emulator, by_value=False)
    outcomes, errors = at_once(emulator, [lambda client: ensure_no_inclusions(client, by_id("flags"), VARIANT)])
    assert not errors
    assert included(emulator) == []
    assert outcomes[0].after == {"count": 0, "added": 0, "removed": len(PEOPLE)}


def test_parallel_lists_that_contradict_each_other_end_as_one_of_them(emulator: Emulator) -> None:
    seed(emulator, by_value=False)
    first, second = ["a", "b", PEOPLE[3]], ["c", "d"]
    _, errors = at_once(
        emulator,
        [
            lambda client: ensure_exactly_included(client, by_id("flags"), VARIANT, first),
            lambda client: ensure_exactly_included(client, by_id("flags"), VARIANT, second),
        ],
    )
    assert all(isinstance(error, UnconfirmedWriteError) for error in errors)
    assert sorted(included(emulator)) in (sorted(first), sorted(second))


# the users whom one removal by place can have hit, from the lists before and after it


def after_removals(before: list[str], places: tuple[int, ...]) -> list[str]:
    left = list(before)
    for place in places:
        if place < len(left):
            del left[place]
    return left


def test_the_removed_person_is_always_among_those_who_possibly_were() -> None:
    """Test all orders of up to three removals by place. The first removal is ours."""
    before = ["a", "b", "c", "d", "e"]
    for ours in range(5):
        for count in (0, 1, 2):
            for others in combinations(range(5), count):
                for order in set(permutations([("ours", ours), *(("theirs", place) for place in others)])):
                    left = list(before)
                    hit = None
                    for who, place in order:
                        user = left.pop(place) if place < len(left) else None
                        hit = user if who == "ours" else hit
                    if hit is not None:
                        assert hit in possibly_removed(before, left, ours)


@pytest.mark.parametrize(
    ("after", "place", "possible"),
    [
        (["a", "c", "d"], 1, {"b"}),
        (["b", "d"], 1, {"c"}),  # a was removed before, so our place was that of c
        (["c", "d"], 0, {"a", "b"}),  # another may have removed a, and we b
        (["c", "d"], 1, {"b"}),
        (["b", "c"], 0, {"a"}),
        (["a", "c", "d", "new"], 1, {"b"}),
        (["a", "c", "d", "b"], 1, {"b"}),  # b was added again
        (["a", "b", "c", "d"], 1, set()),
        (["b", "c", "d"], 3, set()),  # the removed user was added after the read of the list
    ],
)
def test_what_a_removal_can_have_hit_is_told_from_the_lists(after: list[str], place: int, possible: set[str]) -> None:
    assert set(possibly_removed(["a", "b", "c", "d"], after, place)) == possible
