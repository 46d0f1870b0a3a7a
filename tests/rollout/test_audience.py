"""The audience of a flag without the percentage: the changes that are drift, and their descriptions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._actions import Abort, SetStage, SwitchOffSticky
from airflow_provider_ampexp.rollout._audience import AudienceFields
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, read_history
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState
from tests.rollout.test_decision import at

BETA: dict[str, Any] = {
    "name": "Beta",
    "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}],
    "percentage": 5,
    "bucketingKey": "user_id",
    "rolloutWeights": {"on": 1},
}
STAFF: dict[str, Any] = {**BETA, "name": "Staff", "percentage": 50}
CONFIG: dict[str, Any] = {
    "enabled": True,
    "rolloutPercentage": 0,
    "rolloutWeights": {"on": 1, "off": 0},
    "variants": [{"key": "on"}, {"key": "other"}],
    "bucketingKey": "amplitude_id",
    "bucketingSalt": "abc",
    "bucketingUnit": "User",
    "stickyBucketing": False,
    "targetSegments": [STAFF, BETA],
    "parentDependencies": {"flags": {"7": ["on"]}, "operator": "all"},
    "deployments": ["1"],
    "tags": [],
}


def with_segments(*segments: dict[str, Any]) -> dict[str, Any]:
    return {**CONFIG, "targetSegments": list(segments)}


def drift(now: dict[str, Any], segment: str | None = "Beta", approved: dict[str, Any] | None = None) -> list[str]:
    return AudienceFields.of(now, segment).drift_from(AudienceFields.of(approved or CONFIG, segment))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "named"),
    [
        (
            with_segments(STAFF, {**BETA, "conditions": []}),
            "the conditions of segment 'Beta' were removed, so it captures all users",
        ),
        (
            with_segments({**STAFF, "conditions": [*STAFF["conditions"], {"prop": "country"}]}, BETA),
            "the conditions of segment 'Staff' were changed",
        ),
        (
            with_segments({**STAFF, "name": "All", "conditions": [], "percentage": 100}, STAFF, BETA),
            "a segment 'All' was added before segment 'Staff', which captures all users",
        ),
        (with_segments(STAFF, BETA, {**STAFF, "name": "Rest"}), "a segment 'Rest' was added"),
        (with_segments(BETA), "segment 'Staff' was removed"),
        (with_segments(BETA, STAFF), "the order of the segments was changed, which decides which one captures a user"),
        (with_segments({**STAFF, "percentage": 80}, BETA), "segment 'Staff' was raised from 50 % to 80 %"),
        (
            with_segments(STAFF, {**BETA, "bucketingKey": "device_id"}),
            "the bucketing key of segment 'Beta' was changed from 'user_id' to 'device_id'",
        ),
        (
            with_segments(STAFF, {**BETA, "rolloutWeights": {"on": 1, "other": 1}}),
            "the weights of segment 'Beta' were changed: 'other' from 0 to 1",
        ),
        ({**CONFIG, "rolloutPercentage": 100}, "the percentage of all other users was raised from 0 % to 100 %"),
        ({**CONFIG, "rolloutWeights": {"on": 3}}, "the weights were changed: 'on' from 1 to 3"),
        ({**CONFIG, "variants": [{"key": "other"}]}, "variant 'on' was removed"),
        (
            {**CONFIG, "variants": [{"key": "other"}, {"key": "on"}]},
            "the order of the variants was changed, which decides who gets which one",
        ),
        ({**CONFIG, "bucketingKey": "user_id"}, "the bucketing key was changed from 'amplitude_id' to 'user_id'"),
        ({**CONFIG, "bucketingSalt": "xyz"}, "the salt was changed from 'abc' to 'xyz'"),
        ({**CONFIG, "bucketingUnit": "Org"}, "the bucketing unit was changed from 'User' to 'Org'"),
        (
            {**CONFIG, "stickyBucketing": True},
            "sticky bucketing was enabled, so a lower percentage takes the feature from nobody",
        ),
        ({**CONFIG, "parentDependencies": None}, "the dependencies on other flags were changed"),
        ({**CONFIG, "deployments": ["1", "2"]}, "deployment 2 was added"),
        ({**CONFIG, "decision": "rollback"}, "the experiment was decided: rollback"),
    ],
)
def test_each_change_of_who_gets_what_is_drift_and_is_named(now: dict[str, Any], named: str) -> None:
    if "decision" in now:
        assert drift(now, approved={**CONFIG, "decision": None}) == [named]
    else:
        assert drift(now) == [named]
    assert AudienceFields.of(now, "Beta").digest() != AudienceFields.of(CONFIG, "Beta").digest()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "now",
    [
        {**CONFIG, "name": "Checkout", "description": "new", "tags": ["mine"]},
        {**CONFIG, "variants": [{"key": "on", "payload": {"color": "red"}, "name": "On"}, {"key": "other"}]},
        {**CONFIG, "variants": [{"key": "on"}, {"key": "other"}, {"key": "third"}]},
        with_segments(STAFF, {**BETA, "percentage": 100}),  # the ramped segment
        with_segments({**STAFF, "percentage": 10}, BETA),  # fewer users
        with_segments({**STAFF, "percentage": 49.5}, BETA),  # the same users
        with_segments({**STAFF, "name": "Employees"}, BETA),
        with_segments(STAFF, {name: value for name, value in BETA.items() if name != "bucketingKey"}),
        {**CONFIG, "deployments": []},
        {"enabled": True},
        {**dict.fromkeys(CONFIG), "parentDependencies": CONFIG["parentDependencies"]},
    ],
)
def test_what_lets_nobody_in_and_changes_no_variant_is_no_drift(now: dict[str, Any]) -> None:
    assert drift(now) == []


def test_for_all_users_the_percentage_is_what_is_ramped_and_all_segments_capture_first() -> None:
    assert drift({**CONFIG, "rolloutPercentage": 100}, None) == []
    assert drift(with_segments(STAFF, {**BETA, "percentage": 100}), None) == [
        "segment 'Beta' was raised from 5 % to 100 %"
    ]


def test_the_ways_in_besides_the_percentage_that_is_ramped() -> None:
    everybody = {**STAFF, "name": "All", "conditions": [], "percentage": 100}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        (with_segments({**STAFF, "percentage": 0}, BETA), []),
        ({**with_segments(BETA), "rolloutPercentage": 40}, ["the percentage of all other users, 40 %"]),
        (
            {**with_segments(everybody, BETA), "rolloutPercentage": 40},
            [
                "segment 'All' at 100 %, which shows no conditions and may capture all users",
                "the percentage of all other users, 40 %",
            ],
        ),
        (
            {**with_segments(BETA), "stickyBucketing": True},
            ["sticky bucketing, which keeps the users who got it before"],
        ),
    ]
    for config, ways in cases:
        assert AudienceFields.of(config, "Beta").ways_in() == ways  # type: ignore[arg-type]


def test_nobody_reaches_what_comes_after_a_segment_that_captures_everybody_on_purpose() -> None:
    config: Any = {**with_segments({**BETA, "conditions": []}), "rolloutPercentage": 40}
    assert AudienceFields.of(config, "Beta").ways_in("Beta") == []
    # The segment may be for a cohort. Then all other users get the feature at 40 %.
    assert AudienceFields.of(config, "Beta").ways_in() == ["the percentage of all other users, 40 %"]


# the decisions of a rollout

PLAN = RolloutPlan(parse_stages([5, 25, 100], soak="1h"), segment="Beta")
ADOPTS = RolloutPlan(parse_stages([5, 25, 100], soak="1h"), segment="Beta", on_drift="adopt")


def seen(*configs: tuple[str, dict[str, Any]], segment: str | None = "Beta") -> FlagSnapshot:
    """Return a flag with versions by these actors, an hour apart."""
    versions = [
        {"version": number, "createdAt": at(number).isoformat(), "createdBy": by, "flagConfig": config}
        for number, (by, config) in enumerate(configs, 1)
    ]
    newest = configs[-1][1]
    history = read_history(versions, segment)  # type: ignore[arg-type]
    assert history[0].exposure is not None
    return FlagSnapshot(history[0].exposure, history=history, audience=AudienceFields.of(newest, segment))  # type: ignore[arg-type]


def at_share(share: int, **more: Any) -> dict[str, Any]:
    return {**with_segments(STAFF, {**BETA, "percentage": share}), **more}


OPEN = with_segments(STAFF, {**BETA, "conditions": []})


def test_a_change_of_the_audience_since_the_last_look_stops_the_rollout_and_names_who_and_when() -> None:
    began = seen(("Airflow", CONFIG))
    state = RolloutState().after_observation(PLAN, began, at(1))
    act = decide(PLAN, seen(("Airflow", CONFIG), ("Maria", OPEN)), state, at(2.5))
    assert isinstance(act, Abort)
    assert act.cause == "drift"
    assert "the conditions of segment 'Beta' were removed, so it captures all users, by Maria at 2026" in act.why


def test_a_change_that_is_back_by_the_next_look_is_a_change_too() -> None:
    state = RolloutState().after_observation(PLAN, seen(("Airflow", CONFIG)), at(1))
    act = decide(PLAN, seen(("Airflow", CONFIG), ("Maria", OPEN), ("Maria", CONFIG)), state, at(2.5))
    assert isinstance(act, Abort)


def test_adopted_it_goes_on_with_the_new_audience() -> None:
    adopts = replace(ADOPTS, catch_all="Beta")
    state = RolloutState().after_observation(adopts, seen(("Airflow", CONFIG)), at(1))
    now = seen(("Airflow", CONFIG), ("Maria", OPEN))
    assert isinstance(decide(adopts, now, state, at(2.5)), SetStage)


def test_a_change_right_before_our_own_write_is_seen_at_the_next_look() -> None:
    state = RolloutState().after_observation(PLAN, seen(("Airflow", CONFIG)), at(1))
    now = seen(
        ("Airflow", CONFIG), ("Maria", {**CONFIG, "bucketingSalt": "x"}), ("Airflow", at_share(25, bucketingSalt="x"))
    )
    state = state.after_set_stage(Exposure(5, True), at(1), Exposure(25, True), now, at(3))
    act = decide(PLAN, now, state, at(3))
    assert isinstance(act, Abort)
    assert "the salt was changed from 'abc' to 'x', by Maria" in act.why


def test_a_retry_stops_at_a_change_since_its_run_raised_first_and_not_at_one_from_before() -> None:
    narrow = with_segments(STAFF, {**BETA, "conditions": [{"prop": "x"}]})
    before = seen(
        ("Maria", OPEN),
        ("Maria", narrow),
        ("Airflow", {**narrow, "targetSegments": [STAFF, {**narrow["targetSegments"][1], "percentage": 25}]}),
    )
    retry = RolloutState(run_began=at(0.5), is_retry=True)
    assert not isinstance(decide(PLAN, before, retry, at(3.1)), Abort)
    after = seen(("Maria", CONFIG), ("Airflow", at_share(25)), ("Maria", at_share(25, bucketingSalt="x")))
    act = decide(PLAN, after, retry, at(3.1))
    assert isinstance(act, Abort)
    assert "the salt was changed" in act.why


def test_where_the_history_does_not_show_it_the_flag_does() -> None:
    def thin(config: dict[str, Any]) -> FlagSnapshot:
        shown = seen(("Airflow", {"enabled": True, "targetSegments": config["targetSegments"]}))
        return FlagSnapshot(shown.exposure, history=shown.history, audience=AudienceFields.of(config, "Beta"))  # type: ignore[arg-type]

    state = RolloutState().after_observation(PLAN, thin(CONFIG), at(1))
    assert not isinstance(decide(PLAN, thin(CONFIG), state, at(1.5)), Abort)
    act = decide(PLAN, thin({**CONFIG, "bucketingSalt": "x"}), state, at(1.5))
    assert isinstance(act, Abort)
    assert "bucketingSalt was changed, and the version history does not show by whom" in act.why


def test_what_is_remembered_of_the_audience_survives_a_deferral_and_a_state_without_it_goes_on() -> None:
    state = RolloutState().after_observation(PLAN, seen(("Airflow", CONFIG)), at(1))
    plain = json.loads(json.dumps(state.as_json()))
    assert RolloutState.from_json(plain) == state
    old = {name: value for name, value in plain.items() if name not in ("accepted", "audience", "listed")}
    now = seen(("Airflow", CONFIG), ("Maria", OPEN))
    assert not isinstance(decide(PLAN, seen(("Airflow", CONFIG)), RolloutState.from_json(old), at(1.5)), Abort)
    assert isinstance(decide(PLAN, now, RolloutState.from_json(old), at(2.5)), Abort)


STICKY = seen(("Airflow", {**CONFIG, "stickyBucketing": True}))


@pytest.mark.parametrize("rollback", ["start", "previous", 0, "off", "hold"])
def test_a_sticky_object_is_refused_unless_a_rollback_takes_the_feature_from_its_users(rollback: Any) -> None:
    plan = RolloutPlan(parse_stages([5, 25], soak="1h"), segment="Beta", rollback=rollback)
    act = decide(plan, STICKY, RolloutState(), at(3))
    if rollback in ("off", "hold"):
        assert isinstance(act, SetStage)
    else:
        assert isinstance(act, Abort)
        assert act.cause == "sticky"
        assert "rollback='off'" in act.why
        assert "sticky='switch_off'" in act.why


def test_sticky_bucketing_is_switched_off_before_the_first_stage_where_the_plan_says_so() -> None:
    plan = RolloutPlan(parse_stages([5, 25], soak="1h"), segment="Beta", sticky="switch_off")
    assert isinstance(decide(plan, STICKY, RolloutState(), at(3)), SwitchOffSticky)


def test_sticky_bucketing_that_a_person_switches_on_during_the_rollout_stops_it_also_where_drift_is_adopted() -> None:
    state = RolloutState().after_observation(ADOPTS, seen(("Airflow", CONFIG)), at(1))
    now = seen(("Airflow", CONFIG), ("Maria", {**CONFIG, "stickyBucketing": True}))
    act = decide(ADOPTS, now, state, at(2.5))
    assert isinstance(act, Abort)
    assert act.cause == "sticky"


def test_an_experiment_that_was_decided_against_is_refused_unless_told() -> None:
    now = seen(("Maria", {**CONFIG, "decision": "rollback"}))
    act = decide(PLAN, now, RolloutState(), at(3))
    assert isinstance(act, Abort)
    assert act.cause == "decided"
    told = RolloutPlan(parse_stages([5, 25], soak="1h"), segment="Beta", decided="ignore")
    assert isinstance(decide(told, now, RolloutState(), at(3)), SetStage)
