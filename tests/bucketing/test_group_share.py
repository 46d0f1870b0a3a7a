"""The share of all users that an experiment in groups can reach."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.bucketing._group_share import GroupShare


def mutex(*slots: dict[str, Any], **more: Any) -> Any:
    shown = [{"index": index, "experiments": [], "holdouts": [], **slot} for index, slot in enumerate(slots, 1)]
    return {"id": "1", "key": "tests", "slots": shown, **more}


def holdout(percentage: Any, *experiments: str, **more: Any) -> Any:
    return {"id": "2", "key": "none", "holdoutPercentage": percentage, "experiments": [*experiments], **more}


IN_SLOT_2 = mutex({"percentage": 70}, {"percentage": 30, "experiments": ["7"]})


@pytest.mark.parametrize(
    ("mutexes", "holdouts", "percentage"),
    [
        ([IN_SLOT_2], [], 30),
        ([], [holdout(5, "7")], 95),
        # the two examples of the vendor's page
        ([], [holdout(5, "7"), holdout(5, "7", id="3")], 90.25),
        ([mutex({"percentage": 50, "experiments": ["7"]}, {"percentage": 50})], [holdout(5, "7")], 47.5),
        ([IN_SLOT_2, mutex({"percentage": 10, "experiments": ["7"]}, {"percentage": 90}, id="4")], [], 3),
        ([mutex({"percentage": 20, "experiments": ["7"]}, {"percentage": 30, "experiments": ["7"]})], [], 50),
        ([mutex({"percentage": 40, "holdouts": ["2"]}, {"percentage": 60})], [holdout(10, "7")], 36),
        ([mutex({"percentage": 40, "holdouts": ["2"], "experiments": ["7"]})], [holdout(10, "7")], 36),
        (
            [mutex({"percentage": 40, "holdouts": ["2"]}, {"percentage": 60})],
            [holdout(10, "8"), holdout(5, "7", id="3")],
            95,
        ),
        ([mutex({"percentage": None, "experiments": ["7"]})], [holdout(5, "7")], None),
        ([mutex({"experiments": ["7"]})], [], None),
        ([mutex({"percentage": True, "experiments": ["7"]})], [], None),
        ([], [holdout("5", "7")], None),
    ],
)
def test_the_shares_of_all_groups_are_multiplied(mutexes: Any, holdouts: Any, percentage: float | None) -> None:
    share = GroupShare.of("7", mutexes, holdouts)
    assert share is not None
    assert share.percentage == (percentage if percentage is None else pytest.approx(percentage))


@pytest.mark.parametrize(
    ("mutexes", "holdouts"),
    [
        ([], []),
        ([mutex({"percentage": 50, "experiments": ["70"]})], [holdout(5, "77")]),
        ([mutex({"percentage": 50, "experiments": ["7"]}, deleted=True)], [holdout(5, "7", deleted=True)]),
        (
            [{"id": "1"}, {"id": "1", "slots": None}, {"id": "1", "slots": [None, "x"]}],
            [{"id": "2", "experiments": "7"}],
        ),
    ],
)
def test_an_experiment_in_no_group_has_no_share(mutexes: Any, holdouts: Any) -> None:
    assert GroupShare.of("7", mutexes, holdouts) is None


def test_it_says_the_groups_and_the_percentages_of_all_users() -> None:
    share = GroupShare.of("7", [IN_SLOT_2], [])
    assert share is not None
    assert share.describe([25]) == "in slot 2 (30 %) of mutual exclusion group 'tests', so 25 % is 7.5 % of all users"
    both = GroupShare.of("7", [IN_SLOT_2], [holdout(5, "7", key=None, name="Without")])
    assert both is not None
    assert both.ids == {"1", "2"}
    assert both.describe([1, 25, 100], "the users of segment 'Pro'") == (
        "in slot 2 (30 %) of mutual exclusion group 'tests', and in holdout group 'Without' (holdout percentage 5 %), "
        "so 1 % is 0.285 %, 25 % is 7.125 %, 100 % is 28.5 % of the users of segment 'Pro'"
    )


def test_it_says_that_a_percentage_is_not_shown() -> None:
    share = GroupShare.of("7", [mutex({"experiments": ["7"]})], [])
    assert share is not None
    assert share.describe([25]) == (
        "in slot 1 (not shown) of mutual exclusion group 'tests'; its percentages are of a part of all users, and the "
        "size of that part is not shown"
    )
