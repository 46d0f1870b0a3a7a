"""Audience, compared with the vendor's evaluator: no difference, and unknown if a row lacks data."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_ampexp.bucketing import Audience, Unknown, bucket
from tests.bucketing.configs import (
    IS_X,
    ODD_VALUES,
    OPERATORS,
    THREE,
    VALUES,
    a_condition,
    a_config,
    a_row,
    a_segment,
    random_configs,
    random_rows,
)
from tests.bucketing.vendor import vendor_flag, vendor_variant

IDS = int(os.environ.get("AMPEXP_BUCKETING_IDS", "20000"))


def differences(
    config: Mapping[str, Any], rows: Any, inclusions: Any = None, parents: Mapping[str, Any] | None = None
) -> list[object]:
    """Return the rows with two different results. An unknown result is also a difference."""
    known = {id: Audience.of(parent) for id, parent in (parents or {}).items()}  # type: ignore[arg-type]
    audience = Audience.of(config, inclusions=inclusions, parents=known, catch_all="Everybody")  # type: ignore[arg-type]
    flags = [*map(vendor_flag, (parents or {}).values()), vendor_flag(config, inclusions, parents)]
    answers = ((row, audience.evaluate(row), vendor_variant(flags, row)) for row in rows)
    return [answer for answer in answers if answer[1] != answer[2]]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        THREE,
        {**THREE, "rolloutPercentage": 100},
        {"rolloutPercentage": 0.5},
        {"rolloutPercentage": 99.5, **THREE},
        {
            "variants": [{"key": "control"}, {"key": "treatment"}],
            "rolloutWeights": {"treatment": 33.3, "control": 66.7},
        },
        {"variants": [{"key": key} for key in "abc"], "rolloutWeights": {"a": 0, "b": 1, "c": 12}},
    ],
)
def test_random_ids_get_what_the_vendor_gives_them(fields: Mapping[str, Any]) -> None:
    chosen = random.Random(str(fields))
    rows = (a_row(amplitude_id=f"{chosen.getrandbits(chosen.choice((20, 40, 120)))}") for _ in range(IDS // 7))
    assert differences(a_config(**fields), rows) == []


def test_a_hash_at_the_edge_between_two_variants_belongs_to_the_first() -> None:
    config = a_config(
        bucketingSalt="saltsal",
        rolloutPercentage=100,
        variants=[{"key": "control"}, {"key": "treatment"}],
        rolloutWeights={"treatment": 1, "control": 1},
    )
    row = a_row(amplitude_id="k2O3QXtjzycS")
    assert Audience.of(config).evaluate(row) == "control"
    assert differences(config, [row]) == []


def test_a_variant_ends_before_its_bound() -> None:
    split = bucket("mHdQDzeE", "1") // 100
    for weight, expected in ((split, "b"), (split + 1, "a")):
        config = a_config(
            rolloutPercentage=100,
            variants=[{"key": "a"}, {"key": "b"}],
            rolloutWeights={"a": weight, "b": 42949673 - weight},
        )
        assert Audience.of(config).evaluate(a_row(1)) == expected
        assert differences(config, [a_row(1)]) == []


@pytest.mark.parametrize("value", [True, False, 1.0, 0, 7, "", None, "True", "ü/@ 漢", ["a", "b"], {"a": 1}])
@pytest.mark.parametrize("percentage", [0, 1, 50, 99, 100])
@pytest.mark.parametrize("variants", [{}, THREE])
def test_a_bucketing_value_of_any_type_is_hashed_as_the_vendor_does(
    value: object, percentage: float, variants: Mapping[str, Any]
) -> None:
    assert differences(a_config(rolloutPercentage=percentage, **variants), [a_row(amplitude_id=value)]) == []


def test_only_at_100_percent_with_one_variant_a_user_without_a_bucketing_value_gets_it() -> None:
    row = a_row(amplitude_id=None)
    assert Audience.of(a_config(rolloutPercentage=100)).evaluate(row) == "on"
    assert Audience.of(a_config(rolloutPercentage=99)).evaluate(row) is None
    assert Audience.of(a_config(rolloutPercentage=100, **THREE)).evaluate(row) is None


@pytest.mark.parametrize("op", OPERATORS)
def test_a_condition_is_met_as_the_vendor_decides(op: str) -> None:
    wanted = [
        [],
        ["a"],
        ["a", "b"],
        ["b", "a"],
        ["a", "b", "a"],
        *([value] for value in VALUES),
        ["Berlin", "(none)"],
        ["3", "x"],
    ]
    for values in wanted:
        segment = a_segment(a_condition("gp:plan", op, *values), percentage=100)
        rows = [a_row(**{"gp:plan": value}) for value in [*ODD_VALUES, *(value for value in VALUES if value)]]
        assert differences(a_config(targetSegments=[segment], rolloutPercentage=0), rows) == []


@pytest.mark.parametrize("value", [False, 0, 0.0, "", []])
def test_where_the_vendors_evaluators_differ_the_answer_is_unknown_if_it_matters(value: object) -> None:
    def answer(op: str, *values: str) -> object:
        segment = a_segment(a_condition("city", op, *values), percentage=100)
        return Audience.of(a_config(targetSegments=[segment], rolloutPercentage=0)).evaluate(a_row(city=value))

    reason = f"the vendor's evaluators differ on 'city' when its value is {value!r}"
    assert answer("is", "Berlin") is None
    assert answer("is not", "Berlin") in ("on", Unknown(reason))
    if value != []:
        assert answer("is", "(none)") == Unknown(reason)
        assert answer("is", str(value)) == Unknown(reason)


def test_random_configurations_give_what_the_vendor_gives() -> None:
    seen: Counter[object] = Counter()
    for config, inclusions, parents in random_configs(max(400, IDS // 50)):
        rows = random_rows(config)
        assert differences(config, rows, inclusions, parents) == []
        audience = Audience.of(config, inclusions=inclusions, catch_all="Everybody")  # type: ignore[arg-type]
        seen.update(type(audience.evaluate(row)).__name__ for row in rows)
    assert min(seen["str"], seen["NoneType"], seen["Unknown"]) > 500  # also unknown, without the parents


# Rows and configurations without needed data


@pytest.mark.parametrize(
    ("fields", "columns", "reason"),
    [
        ({"stickyBucketing": True}, {}, "sticky bucketing keeps users in the variant that they got before"),
        ({"parentDependencies": {"flags": {"7": ["on"]}}}, {}, "the flag depends on flag 7"),
        ({"bucketingUnit": "org id"}, {}, "the flag buckets groups of type 'org id', not users"),
        ({"bucketingSalt": None, "rolloutWeights": None}, {}, "the flag does not show: bucketingSalt, rolloutWeights"),
        ({"variants": []}, {}, "the flag does not show: variants"),
        ({"bucketingKey": "gp:account"}, {}, "the row has no column 'gp:account'"),
        ({"enabled": None}, {}, "the configuration does not show whether the flag is enabled"),
        ({"targetSegments": [a_segment(IS_X, percentage=0)]}, {}, "the row has no column 'city'"),
        (
            {"targetSegments": [a_segment(a_condition("city", "glob match", "x*"), percentage=0)]},
            {"city": "x"},
            "the operator 'glob match' of a condition on 'city' is not supported",
        ),
        (
            {"targetSegments": [a_segment({"type": "cohort", "values": ["c"]}, percentage=0)]},
            {},
            "a condition is of type 'cohort'",
        ),
        (
            {"targetSegments": [a_segment(percentage=0)]},
            {},
            "segment 'Segment 1' shows no conditions and may be for a cohort",
        ),
    ],
)
def test_what_is_not_shown_is_unknown_with_the_reason(
    fields: Mapping[str, Any], columns: Mapping[str, object], reason: str
) -> None:
    config = a_config(rolloutPercentage=100, **THREE) | dict(fields)
    assert Audience.of(config).evaluate(a_row(**columns)) == Unknown(reason)


@pytest.mark.parametrize(
    "fields",
    [
        {"parentDependencies": {"flags": {"7": ["on"]}}},
        {"targetSegments": [a_segment(IS_X, percentage=0)]},
        {"targetSegments": [a_segment(percentage=0)]},
        {"bucketingKey": "gp:account"},
        {"enabled": None},
    ],
)
def test_an_answer_that_does_not_depend_on_what_is_missing_is_known(fields: Mapping[str, Any]) -> None:
    assert Audience.of(a_config(rolloutPercentage=0) | dict(fields)).evaluate(a_row()) is None


def test_a_disabled_or_archived_flag_reaches_nobody_also_if_it_is_sticky() -> None:
    for fields in ({"enabled": False}, {"deleted": True}):
        config = a_config(rolloutPercentage=100, stickyBucketing=True, **fields)
        assert Audience.of(config, inclusions={"on": ["user-1"]}).evaluate(a_row()) is None


def test_inclusions_come_before_sticky_bucketing_and_need_both_ids() -> None:
    audience = Audience.of(a_config(stickyBucketing=True, rolloutPercentage=0), inclusions={"on": ["user-1", "d"]})
    assert audience.evaluate(a_row()) == "on"
    assert audience.evaluate(a_row(2, device_id="d")) == "on"
    assert isinstance(audience.evaluate(a_row(2)), Unknown)
    assert audience.evaluate({"amplitude_id": "1", "user_id": "user-1"}) == Unknown(
        "the row has no column 'device_id', and the flag has inclusions"
    )


@pytest.mark.parametrize(
    ("operator", "parents", "expected"),
    [
        ("all", {}, Unknown("the flag depends on flag 7")),
        ("all", {"7": 100}, Unknown("the flag depends on flag 8")),
        ("all", {"7": 0}, None),
        ("all", {"7": 100, "8": 100}, "on"),
        ("any", {"7": 100}, "on"),
        ("any", {"7": 0}, Unknown("the flag depends on flag 8")),
        ("any", {"7": 0, "8": 0}, None),
        ("none", {"7": 0, "8": 0}, Unknown("the operator 'none' of the dependencies is not supported")),
    ],
)
def test_dependencies_on_several_flags(operator: str, parents: Mapping[str, float], expected: object) -> None:
    flags = {"flags": {"7": ["on"], "8": ["on"]}, "operator": operator}
    known = {id: Audience.of(a_config(rolloutPercentage=percentage)) for id, percentage in parents.items()}
    config = a_config(rolloutPercentage=100, parentDependencies=flags)
    assert Audience.of(config, parents=known).evaluate(a_row()) == expected


# The allocation


def test_a_raise_only_adds_users_and_nobody_changes_the_variant() -> None:
    audience = Audience.of(a_config(**THREE))
    values = list(map(str, range(2000)))
    positions = [*audience.allocation_of().positions(values)]
    final = [*audience.at(100).allocation_of().variants(values)]
    assert set(final) == set("abc")
    for percentage in range(101):
        found = [*audience.at(percentage).allocation_of().variants(values)]
        chosen = [position is not None and position < percentage for position in positions]
        assert found == [variant if is_in else None for variant, is_in in zip(final, chosen, strict=True)]


def test_at_changes_one_segment_or_all_other_users() -> None:
    segments = [a_segment(IS_X), a_segment(a_condition("city", "is", "y"), name="Beta")]
    audience = Audience.of(a_config(targetSegments=segments))
    assert audience.segments == ("Segment 1", "Beta")
    raised = audience.at(100, "Beta")
    assert [raised.allocation_of(name).percentage for name in ("Segment 1", "Beta", None)] == [50, 100, 50]
    assert [audience.at(7).allocation_of(name).percentage for name in ("Segment 1", "Beta", None)] == [50, 50, 7]
    assert audience.allocation_of("Beta").percentage == 50


def test_the_columns_that_an_evaluation_reads() -> None:
    segment = a_segment(IS_X, a_condition("gp:plan", "is", "y"), bucketingKey="user_id")
    audience = Audience.of(a_config(targetSegments=[segment]), inclusions={"on": ["u"]})
    assert audience.columns == ("user_id", "device_id", "city", "gp:plan", "amplitude_id")
    assert Audience.of(a_config(), inclusions={"on": []}).columns == ("amplitude_id",)


def test_a_custom_property_may_be_a_column_without_its_prefix() -> None:
    audience = Audience.of(a_config(bucketingKey="gp:account"))
    assert audience.allocation({"account": "7"}) == audience.allocation({"gp:account": "7", "account": "x"})


def test_the_stream_gives_the_same_as_one_value_after_the_other() -> None:
    allocation = Audience.of(a_config(**THREE)).allocation_of()
    values: list[object] = [*map(str, range(500)), None, "", 7, True]
    assert list(allocation.positions(values)) == [allocation.position(value) for value in values]
    assert list(allocation.variants(values)) == [allocation.variant(value) for value in values]
    assert set(allocation.variants(values)) == {"a", "b", "c", None}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda audience: audience.at(101), "percentage: expected a number from 0 to 100, got 101"),
        (lambda audience: audience.at(5, "Beta"), r"segment: expected one of \['Segment 1'\], got 'Beta'"),
        (lambda audience: audience.allocation_of("Segment 1"), "segment 'Segment 1' does not show: rolloutWeights"),
        (lambda audience: audience.allocation({"user_id": "u"}), "the row has no column 'amplitude_id'"),
    ],
)
def test_what_is_asked_for_and_is_not_there_is_an_error(call: Any, message: str) -> None:
    segment = a_segment(IS_X, rolloutWeights=None)
    with pytest.raises(ValueError, match=message):
        call(Audience.of(a_config(targetSegments=[segment])))


@pytest.mark.parametrize(
    ("fields", "variants", "share"),
    [
        ({"rolloutPercentage": 40, **THREE}, "c", 10),
        ({"rolloutPercentage": 40, **THREE}, "ab", 30),
        ({"rolloutPercentage": 40, **THREE}, ("a", "off"), 70),
        ({"rolloutPercentage": 40, **THREE, "rolloutWeights": {}}, "abc", 0),
        ({"rolloutPercentage": 40, "enabled": False, **THREE}, "abc", 0),
        ({"rolloutPercentage": 40, "deleted": True, **THREE}, ("off",), 100),
        ({"rolloutPercentage": 40, "stickyBucketing": True, **THREE}, "abc", None),
        ({"rolloutPercentage": None, **THREE}, "abc", None),
        ({"enabled": None, **THREE}, "abc", None),
    ],
)
def test_the_largest_share_of_users_with_a_variant(
    fields: Mapping[str, Any], variants: Any, share: float | None
) -> None:
    audience = Audience.of(a_config(**fields))
    assert audience.largest_share(variants) == share
    if share is not None:
        given = Counter(audience.evaluate(a_row(amplitude_id=f"{number}")) or "off" for number in range(4000))
        assert sum(given[variant] for variant in variants) / 40 == pytest.approx(share, abs=2)


def test_the_largest_share_is_that_of_the_segment_with_most_users() -> None:
    segment = a_segment(IS_X, percentage=60, rolloutWeights={"a": 1, "b": 2})
    audience = Audience.of(a_config(rolloutPercentage=40, targetSegments=[segment], **THREE))
    assert (audience.largest_share("b"), audience.largest_share("c")) == (40, 10)
