"""A preview of the users who enter with a raise."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from airflow_runs import Run

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators import _unique_users
from airflow_provider_ampexp.operators.preview import AmplitudePreviewRolloutOperator
from airflow_provider_ampexp.operators.rollout import AmplitudeSetRolloutOperator

SQL = "select amplitude_id, user_id, tier, account, revenue from users"
PRO = {
    "name": "Pro",
    "conditions": [{"type": "property", "prop": "tier", "op": "is", "values": ["pro"]}],
    "percentage": 10,
    "rolloutWeights": {"on": 1},
    "bucketingKey": "amplitude_id",
}


def flag(emulator: Emulator, **fields: Any) -> dict[str, Any]:
    return emulator.create_flag(
        "checkout",
        **{
            "enabled": True,
            "rolloutPercentage": 25,
            "bucketingKey": "amplitude_id",
            "variants": [{"key": "on"}],
            "rolloutWeights": {"on": 1},
            **fields,
        },
    )


def who_gets_it(emulator: Emulator, users: list[dict[str, Any]]) -> set[str]:
    """Return the users who get the flag, by the emulator's evaluation, which shares no code with the operator."""
    (made,) = emulator.dump()["flags"]
    variants = emulator.evaluate_all("flags", made["id"], users)
    return {user["user_id"] for user, variant in zip(users, variants, strict=True) if variant is not None}


def preview(**changed: Any) -> AmplitudePreviewRolloutOperator:
    given = {"task_id": "preview", "flag_key": "checkout", "percentage": 50, "conn_id": "warehouse", "sql": SQL}
    return AmplitudePreviewRolloutOperator(**{**given, **changed})


def test_it_counts_exactly_the_users_who_enter(
    run: Callable[[DAG], Run], emulator: Emulator, users: list[dict[str, Any]], dag_id: str
) -> None:
    flag(emulator)
    before = who_gets_it(emulator, users)
    with DAG(dag_id) as dag:
        preview(group_by=["tier"], sums=["revenue"]) >> AmplitudeSetRolloutOperator(
            task_id="raise", flag_key="checkout", percentage=50
        )
    ran = run(dag)
    assert ran.succeeded, ran.states
    entered = who_gets_it(emulator, users) - before
    said = ran.xcom("preview")
    rows = [user for user in users if user["user_id"] in entered]
    tiers = {tier: sum(user["tier"] == tier for user in rows) for tier in ("free", "pro", "enterprise")}
    assert entered
    assert (said["users"], said["enter"], said["unknown"]) == (500, len(entered), {})
    assert said["groups"] == {"tier": {tier: count for tier, count in tiers.items() if count}}
    assert said["sums"] == {"revenue": sum(user["revenue"] for user in rows)}
    assert said["text"].startswith(f"25 % -> 50 %: {len(entered)} of 500 users enter; tier: free {tiers['free']}, pro ")


@pytest.mark.parametrize(("has_cohorts", "requests"), [(False, 1 + 2 + 1), (True, 1 + 2 + 2)])
def test_a_preview_changes_nothing_and_takes_few_requests(
    emulator: Emulator, users: list[dict[str, Any]], has_cohorts: bool, requests: int
) -> None:
    """1 request for the flag, and for each of its two variants 1 for inclusions and 1 for cohorts, if supported."""
    emulator.settings(extra_endpoints=has_cohorts)
    made = flag(emulator, variants=[{"key": "on"}, {"key": "new"}])
    before = emulator.flag(made["id"])
    emulator.clear_requests()
    preview(flag_key=None, flag_id=made["id"]).execute({})
    assert [request["method"] for request in emulator.request_log()] == ["GET"] * requests
    assert emulator.flag(made["id"]) == before


def test_a_segment_is_previewed_by_itself(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator, rolloutPercentage=0, targetSegments=[PRO])
    said = preview(segment="Pro", percentage=100, group_by=["tier"]).execute({})
    assert set(said["groups"]["tier"]) == {"pro"}
    assert 70 < said["enter"] <= 90
    assert said["percentage_before"] == 10


def test_a_disabled_flag_is_previewed_as_it_will_be_enabled(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator, enabled=False, rolloutPercentage=25)
    said = preview(percentage=100).execute({})
    assert (said["percentage_before"], said["enter"]) == (None, 500)
    assert said["text"] == "disabled -> 100 %: 500 of 500 users enter"


def test_users_with_an_inclusion_have_it_already(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator, rolloutPercentage=0, inclusions={"on": ["user-1", "user-2", "somebody-else"]})
    assert preview(percentage=100).execute({})["enter"] == 498
    without_ids = preview(percentage=100, sql="select amplitude_id from users").execute({})
    assert without_ids["enter"] == 500
    assert without_ids["text"] == (
        "0 % -> 100 %: at most 500 of 500 users enter; up to 3 of them have it already by an inclusion"
    )


def test_what_the_data_cannot_tell_is_said(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator)
    said = preview(sql="select user_id from users").execute({})
    assert said["enter"] == 0
    assert said["unknown"] == {"the row has no column 'amplitude_id'": 500}
    assert said["text"].startswith("25 % -> 50 %: at most 500 of 500 users enter; for 500 users it is not known")


def test_users_who_are_refused_fail_the_task_by_number_and_name(
    emulator: Emulator, users: list[dict[str, Any]]
) -> None:
    flag(emulator, rolloutPercentage=0)
    with pytest.raises(AirflowFailException) as raised:
        preview(percentage=100, refuse_if={"tier": ["enterprise"]}, names="account").execute({})
    assert str(raised.value) == (
        "Preview of flag 'checkout' refused 100 %: 10 users enter with a refused value of 'tier' (0 % -> 100 %: 500 of "
        "500 users enter; account: Account 0, Account 1, Account 2, Account 3, Account 4). Nothing was changed. Choose "
        "a lower percentage, or exclude these users by a target segment."
    )
    assert preview(percentage=100, refuse_if="{'tier': 'none of them'}").refuse_if


def test_no_ids_are_in_the_result_unless_they_are_asked_for(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator)
    assert "user-" not in json.dumps(preview(group_by=["tier"]).execute({}))
    names = preview(percentage=100, names="user_id").execute({})["names"]
    assert len(names) == 20


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"percentage": 101}, "percentage"),
        ({"conn_id": ""}, "conn_id"),
        ({"sql": ""}, "sql"),
        ({"refuse_if": {"tier": []}}, "refuse_if.tier"),
        ({"refuse_if": {}}, "refuse_if"),
        ({"catch_all": ""}, "catch_all"),
        ({"group_by": [""]}, "group_by"),
    ],
)
def test_a_wrong_argument_is_refused_while_the_dag_is_parsed(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError, match=field):
        preview(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"group_by": ["city"]}, r"sql: expected the columns \['city'\] in the query, got \['amplitude_id', "),
        ({"sums": ["tier"]}, "sql: expected a number as column 'tier', got"),
        ({"segment": "Gold"}, r"segment: expected one of \[\], got 'Gold'"),
    ],
)
def test_a_column_or_segment_that_is_missing_is_named(
    emulator: Emulator, users: list[dict[str, Any]], wrong: dict[str, Any], said: str
) -> None:
    flag(emulator)
    with pytest.raises(AirflowFailException, match=said):
        preview(**wrong).execute({})


UPPER = "select amplitude_id as AMPLITUDE_ID, user_id as USER_ID, tier as TIER, revenue as REVENUE from users"


def test_columns_that_the_warehouse_names_in_upper_case_are_found(
    emulator: Emulator, users: list[dict[str, Any]]
) -> None:
    flag(emulator, targetSegments=[PRO], inclusions={"on": ["user-1"]})
    columns = {"group_by": ["tier"], "sums": ["revenue"], "names": "user_id"}
    expected = preview(**columns).execute({})
    assert expected["enter"] > 50
    assert preview(sql=UPPER, **columns).execute({}) == expected
    with pytest.raises(AirflowFailException, match="refused value of 'tier'"):
        preview(sql=UPPER, percentage=100, refuse_if={"tier": ["enterprise"]}).execute({})


def test_a_flag_that_buckets_groups_has_no_answer(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator, bucketingUnit="company")
    said = preview().execute({})
    assert said["text"].startswith("25 % -> 50 %: at most 500 of 500 users enter; for 500 users it is not known")


def test_a_refused_user_who_may_enter_is_refused_too(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator)
    refuse_if = {"tier": ["enterprise"]}
    with pytest.raises(AirflowFailException) as raised:
        preview(sql="select user_id, tier from users", refuse_if=refuse_if).execute({})
    assert "refused 50 %: 10 users may enter with a refused value of 'tier' (25 % -> 50 %: at most 500" in str(
        raised.value
    )
    within_pro = {"segment": "Pro", "percentage": 100, "refuse_if": {"tier": ["free"]}}
    (made,) = emulator.dump()["flags"]
    emulator.edit("flags", made["id"], targetSegments=[PRO])
    assert preview(**within_pro).execute({})["refused"] == {}


def test_a_bucketing_value_with_a_decimal_point_is_no_id(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator)
    with pytest.raises(AirflowFailException, match="sql: expected a text or a whole number in column 'amplitude_id'"):
        preview(sql="select cast(amplitude_id as real) as amplitude_id from users").execute({})


def test_a_query_without_a_row_shows_nothing_and_fails(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    flag(emulator)
    with pytest.raises(AirflowFailException, match="sql: expected a row for each user, got no row"):
        preview(sql=SQL + " where 1 = 0", refuse_if={"tier": ["enterprise"]}).execute({})


@pytest.mark.parametrize("written", ["Enterprise", " enterprise ", "ENTERPRISE"])
def test_capital_letters_and_spaces_do_not_let_a_refused_user_in(
    emulator: Emulator, users: list[dict[str, Any]], written: str
) -> None:
    flag(emulator, rolloutPercentage=0)
    with pytest.raises(AirflowFailException, match="10 users enter with a refused value of 'tier'"):
        preview(percentage=100, refuse_if={"tier": [written]}).execute({})


def test_a_refused_value_that_no_row_has_is_an_error_with_the_values_of_the_column(
    emulator: Emulator, users: list[dict[str, Any]]
) -> None:
    flag(emulator, rolloutPercentage=0)
    with pytest.raises(AirflowFailException) as raised:
        preview(percentage=100, refuse_if={"tier": ["entreprise"]}).execute({})
    assert "refuse_if.tier: expected values of the column, got 'entreprise'; the column has " in str(raised.value)
    assert str(raised.value).endswith("'enterprise', 'free', 'pro'")


TWICE = (
    "select amplitude_id, user_id, tier, revenue from users "
    "union all select amplitude_id, user_id, 'free', 1 from users"
)


def test_several_rows_of_a_user_are_an_error_and_not_several_users(
    emulator: Emulator, users: list[dict[str, Any]]
) -> None:
    flag(emulator)
    with pytest.raises(AirflowFailException) as raised:
        preview(sql=TWICE).execute({})
    assert "sql: expected one row for each user, got several rows with the same amplitude_id and user_id" in str(
        raised.value
    )
    assert "user-" not in str(raised.value)


def test_users_of_one_bucketing_value_are_several_users(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    """For example, a flag buckets by account."""
    flag(emulator, bucketingKey="account")
    assert preview(percentage=100).execute({})["users"] == 500
    with pytest.raises(AirflowFailException, match="several rows with the same account: group"):
        preview(percentage=100, sql="select account from users").execute({})


def test_the_users_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_unique_users, "MOST_USERS", 1000)
    unique = _unique_users.UniqueUsers()
    assert all(unique.is_new((str(number), None)) for number in range(50_000))
    assert 300 < len(unique._seen) <= 1000
    repeated = sum(not unique.is_new((str(number), None)) for number in range(50_000))
    assert repeated == len(unique._seen)


def test_the_users_of_an_included_cohort_have_it_already(emulator: Emulator, users: list[dict[str, Any]]) -> None:
    emulator.settings(extra_endpoints=True)
    flag(emulator, rolloutPercentage=0, cohorts={"on": ["beta", "staff"]})
    said = preview(percentage=100).execute({})
    assert (said["enter"], said["cohorts"]) == (500, ["beta", "staff"])
    assert said["text"] == (
        "0 % -> 100 %: at most 500 of 500 users enter; all users of the cohorts 'beta' and 'staff' have it already, at "
        "any percentage"
    )


def test_a_raise_that_enables_the_flag_gives_it_to_all_users_of_its_cohorts(
    emulator: Emulator, users: list[dict[str, Any]]
) -> None:
    emulator.settings(extra_endpoints=True)
    flag(emulator, enabled=False, targetSegments=[PRO], cohorts={"on": ["beta"]})
    said = preview(percentage=0, segment="Pro").execute({})
    assert said["text"].startswith(f"disabled -> 0 %: at least {said['enter']} of 500 users enter; all users of the ")
    assert said["text"].endswith("all users of the cohort 'beta' get it too, at any percentage")
    # Any enterprise user may be in the cohort.
    with pytest.raises(AirflowFailException, match="10 users may enter with a refused value of 'tier'"):
        preview(percentage=0, refuse_if={"tier": ["enterprise"]}).execute({})
