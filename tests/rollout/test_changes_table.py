"""The history as rows of changes."""

from __future__ import annotations

import copy
import itertools
import random
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ampexp.client._timestamps import parse_timestamp
from airflow_provider_ampexp.history._field_changes import COLUMNS, CREATED, flattened, in_order, rows_of, within

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
WORDS = st.sampled_from(["on", "off", "control", "treatment"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text("ab", max_size=2))
WEIGHTS = st.dictionaries(WORDS, st.integers(0, 3))
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "rolloutPercentage": st.integers(0, 3),
        "state": st.sampled_from(["planning", "running"]),
        "decision": st.sampled_from([None, "rollout"]),
        "tags": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "rolloutWeights": WEIGHTS,
        "variants": st.lists(
            st.fixed_dictionaries({"key": WORDS, "payload": VALUES}), max_size=3, unique_by=lambda value: value["key"]
        ),
        "targetSegments": st.lists(
            st.fixed_dictionaries({"name": WORDS, "percentage": st.integers(0, 3), "rolloutWeights": WEIGHTS}),
            max_size=3,
            unique_by=lambda value: value["name"],
        ),
    },
)


def version(number: int, config: dict[str, Any], by: Any = "Maria") -> Any:
    at = (BEGAN + timedelta(minutes=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"version": number, "createdAt": at, "createdBy": by, "flagConfig": {"key": "search", **config}}


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    configs = draw(st.lists(CONFIGS, min_size=1, max_size=6))
    gaps = [draw(st.integers(1, 2)) for _ in configs]
    return [version(1 + sum(gaps[1 : place + 1]), config) for place, config in enumerate(configs)]


def table(history: list[Any]) -> list[Any]:
    return list(rows_of("flags", "7", history))


def test_who_changed_what_and_when() -> None:
    history = [
        version(1, {"enabled": False, "rolloutPercentage": 0, "projectId": "100001"}, by="Ana"),
        version(2, {"enabled": True, "rolloutPercentage": 5, "projectId": "100001"}, by={"email": "bob@example.com"}),
        version(3, {"enabled": True, "rolloutPercentage": 5, "projectId": "100001", "description": "now"}, by=None),
    ]
    first, enabled, percentage, described = table(history)
    assert tuple(first) == COLUMNS
    assert (first["field"], first["from"], first["to"], first["by"]) == (CREATED, None, "search", "Ana")
    assert enabled == {
        "at": "2026-01-01T00:02:00.000Z",
        "by": "bob@example.com",
        "kind": "flags",
        "project_id": "100001",
        "id": "7",
        "key": "search",
        "version": 2,
        "field": "enabled",
        "from": False,
        "to": True,
    }
    assert (percentage["field"], percentage["from"], percentage["to"]) == ("rolloutPercentage", 0, 5)
    assert (described["field"], described["from"], described["to"]) == ("description", None, "now")
    assert described["by"] == "somebody"


def test_parts_of_a_field_have_paths() -> None:
    before: dict[str, Any] = {
        "rolloutWeights": {"on": 1},
        "targetSegments": [{"name": "Beta", "percentage": 5, "conditions": [{"prop": "a", "values": ["x"]}]}],
        "variants": [{"key": "on", "payload": {"a": {"b": 1}}}],
        "tags": [],
    }
    after = copy.deepcopy(before)
    after["rolloutWeights"] = {"on": 1, "off": 2}
    after["targetSegments"][0] |= {"percentage": 25, "conditions": [{"prop": "a", "values": ["y"]}]}
    after["targetSegments"].append({"name": "Staff", "percentage": 100})
    after["variants"] = [{"key": "on", "payload": {"a": {"b": 2}}}]
    after["tags"] = ["hold"]
    rows = table([version(1, before), version(2, after), version(3, {**after, "targetSegments": []})])[1:]
    assert [(row["version"], row["field"], row["from"], row["to"]) for row in rows] == [
        (2, "rolloutWeights.off", None, 2),
        (2, "tags", [], ["hold"]),
        (2, "targetSegments[Beta].conditions", [{"prop": "a", "values": ["x"]}], [{"prop": "a", "values": ["y"]}]),
        (2, "targetSegments[Beta].percentage", 5, 25),
        (2, "targetSegments[Staff].name", None, "Staff"),
        (2, "targetSegments[Staff].percentage", None, 100),
        (2, "variants[on].payload", {"a": {"b": 1}}, {"a": {"b": 2}}),
        (3, "targetSegments[Beta].conditions", [{"prop": "a", "values": ["y"]}], None),
        (3, "targetSegments[Beta].name", "Beta", None),
        (3, "targetSegments[Beta].percentage", 25, None),
        (3, "targetSegments[Staff].name", "Staff", None),
        (3, "targetSegments[Staff].percentage", 100, None),
    ]


def test_a_field_that_does_not_show_tells_nothing() -> None:
    shown = [version(1, {"rolloutPercentage": 5}), version(2, {}), version(3, {"rolloutPercentage": 5})]
    assert [row["field"] for row in table(shown)] == [CREATED]
    shown[2]["flagConfig"]["rolloutPercentage"] = 25
    assert [(row["version"], row["from"], row["to"]) for row in table(shown)[1:]] == [(3, 5, 25)]
    assert table([{"version": 1}, {"version": 2, "flagConfig": None}])[0]["by"] == "somebody"


def test_a_history_that_was_cut_off_has_no_beginning() -> None:
    assert [row["version"] for row in table([version(7, {"enabled": True}), version(8, {"enabled": False})])] == [8]


def test_one_and_true_are_two_things() -> None:
    rows = table([version(1, {"a": 1}), version(2, {"a": True})])[1:]
    assert [(row["from"], row["to"]) for row in rows] == [(1, True)]


@given(histories())
def test_the_rows_lead_from_each_state_to_the_next(history: list[Any]) -> None:
    """The state after each version can be computed from the rows alone."""
    replayed = flattened(history[0]["flagConfig"])
    rows = table(history)
    known = dict(replayed)
    for entry in history[1:]:
        config = entry["flagConfig"]
        known = {path: value for path, value in known.items() if not any(path.startswith(top) for top in config)}
        known |= flattened(config)
        for row in rows:
            if row["version"] == entry["version"]:
                assert stated({"is": replayed.get(row["field"])}) == stated({"is": row["from"]})
                assert row["from"] != row["to"] or isinstance(row["from"], bool) is not isinstance(row["to"], bool)
                replayed[row["field"]] = row["to"]
        assert stated(replayed) == stated(known)


def stated(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state without empty values: null equals a missing field, and an empty list of segments equals none."""
    return {path: value for path, value in state.items() if value not in (None, [], {})}


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_in_which_versions_come_does_not_matter(history: list[Any], chance: random.Random) -> None:
    mixed = history[:]
    chance.shuffle(mixed)
    assert table(mixed) == table(history)
    rows = table(history)
    chance.shuffle(rows)
    assert in_order(rows) == table(history)


@given(histories(), st.lists(st.integers(0, 15), min_size=2, max_size=5))
def test_intervals_side_by_side_hold_each_row_once(history: list[Any], minutes: list[int]) -> None:
    bounds = [BEGAN + timedelta(minutes=minute) for minute in sorted(minutes)]
    rows = table(history)
    parts = [row for start, end in itertools.pairwise(bounds) for row in within(rows, start, end)]
    assert parts == list(within(rows, bounds[0], bounds[-1]))
    assert all(bounds[0] <= (parse_timestamp(row["at"]) or BEGAN) < bounds[-1] for row in parts)


@given(histories())
def test_the_same_twice_is_no_change(history: list[Any]) -> None:
    last = history[-1]["version"]
    again = [version(last + 1, {**history[-1]["flagConfig"]})]
    assert [row for row in table(history + again) if row["version"] > last] == []


def test_moments_as_the_service_writes_them() -> None:
    wanted = datetime(2026, 1, 1, 0, 0, 0, 900000, tzinfo=timezone.utc)
    for text in ("2026-01-01T00:00:00.9Z", "2026-01-01T00:00:00.900Z", "2026-01-01T01:00:00.9000000+01:00"):
        assert parse_timestamp(text) == wanted
    assert [parse_timestamp(text) for text in ("", "yesterday", "2026-01-01T00:00:00")] == [None, None, None]
    late = {**table([version(1, {})])[0], "at": ""}
    assert list(within([late], BEGAN, BEGAN + timedelta(days=9))) == []
