"""The emulator's evaluation, compared with `bucketing` and the vendor's evaluator, and used by the vendor's SDK."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from amplitude_experiment import Experiment, RemoteEvaluationConfig, User

from airflow_provider_ampexp.bucketing import Audience
from airflow_provider_ampexp.bucketing._group_share import GroupShare
from airflow_provider_ampexp.emulator.control import Emulator
from tests.bucketing.configs import a_condition, a_config, a_segment, random_configs, random_rows
from tests.bucketing.vendor import vendor_flag, vendor_variant

if TYPE_CHECKING:
    from tests.emulator.conftest import Api


@pytest.fixture
def server_key(emulator: Emulator) -> str:
    """Return the key of the default state's server deployment."""
    return str(next(stored["key"] for stored in emulator.dump()["deployments"] if stored["label"] == "acme-app-server"))


@pytest.fixture
def deployed(emulator: Emulator) -> list[str]:
    return [stored["id"] for stored in emulator.dump()["deployments"] if stored["label"] == "acme-app-server"]


def vardata(emulator: Emulator, key: str, method: str = "GET", **more: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Api-Key {key}", **more.pop("headers", {})}
        return session.request(method, f"{emulator.base_url}/sdk/v2/vardata", headers=headers, timeout=10, **more)


def test_the_emulator_bucketing_and_the_vendor_agree(emulator: Emulator) -> None:
    compared = 0
    for number, (config, inclusions, parents) in enumerate(random_configs(60)):
        # JSON has its own text for a boolean and an object, and the vendor's evaluator in Python has another.
        rows = [row for row in random_rows(config) if not isinstance(row["gp:plan"], bool | dict)]
        for id, parent in parents.items():
            emulator.load({"flags": [{**parent, "id": f"90{id}{number}", "key": f"parent-{number}"}]})
        flags = (config.get("parentDependencies") or {}).get("flags", {})
        dependencies = {"flags": {f"90{id}{number}": variants for id, variants in flags.items()}}
        key = f"checkout-{number}"
        loaded = emulator.create_flag(
            **{**config, "key": key, "parentDependencies": dependencies, "inclusions": inclusions}
        )
        audience = Audience.of(
            config,
            inclusions=inclusions,
            parents={id: Audience.of(parent) for id, parent in parents.items()},
            catch_all="Everybody",
        )
        flags = [*map(vendor_flag, parents.values()), vendor_flag(config, inclusions, parents)]
        expected = [audience.evaluate(row) for row in rows]
        assert expected == [vendor_variant(flags, row) for row in rows]
        assert emulator.evaluate_all("flags", loaded["id"], rows) == expected
        compared += len(rows)
    assert compared > 1000


def test_the_emulator_shares_no_code_with_bucketing_and_knows_the_edges(emulator: Emulator) -> None:
    two = {"variants": [{"key": "control"}, {"key": "treatment"}], "rolloutWeights": {"treatment": 1, "control": 1}}
    flag = emulator.create_flag(**a_config(bucketingSalt="saltsal", rolloutPercentage=100, **two))
    assert emulator.evaluate("flags", flag["id"], amplitude_id="k2O3QXtjzycS") == "control"
    values: list[object] = ["7", 7, 1.5, *(f"ü{number}" for number in range(50)), None, ""]
    for percentage in (50, 99, 100):
        for fields in ({}, two):
            config = a_config(key=f"k{percentage}{len(fields)}", rolloutPercentage=percentage, **fields)
            flag = emulator.create_flag(**config)
            rows = [{"amplitude_id": value, "user_id": None} for value in values]
            assert emulator.evaluate_all("flags", flag["id"], rows) == [
                Audience.of(config).evaluate(row) for row in rows
            ]


def test_who_gets_it_now_and_why(emulator: Emulator) -> None:
    pro = a_segment(a_condition("gp:plan", "is", "pro"), name="Pro", percentage=100)
    flag = emulator.create_flag(
        "search",
        enabled=True,
        rolloutPercentage=0,
        targetSegments=[pro],
        variants=[{"key": "on"}],
        rolloutWeights={"on": 1},
        inclusions={"on": ["ann", "phone-1"]},
    )

    def asked(**user: str) -> Any:
        url = f"{emulator.base_url}/_emulator/evaluate"
        answer = requests.get(url, {"kind": "flags", "id": flag["id"], **user}, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    assert asked(user_id="ann") == {"variant": "on", "reason": "inclusion"}
    assert asked(device_id="phone-1") == {"variant": "on", "reason": "inclusion"}
    assert asked(user_id="ben", **{"gp:plan": "pro"}) == {"variant": "on", "reason": "segment 'Pro'"}
    assert asked(user_id="ben") == {"variant": None, "reason": "all other users"}
    assert asked() == {"variant": None, "reason": "all other users"}
    emulator.edit("flags", flag["id"], enabled=False)
    assert asked(user_id="ann") == {"variant": None, "reason": "disabled"}
    emulator.edit("flags", flag["id"], enabled=True, archive=True)
    assert asked(user_id="ann") == {"variant": None, "reason": "archived"}
    assert emulator.requests()["total"] == 0


def test_a_raise_only_adds_users(emulator: Emulator) -> None:
    flag = emulator.create_flag(**a_config(rolloutPercentage=10))
    users = [{"user_id": f"user-{number}"} for number in range(1000)]
    few = emulator.evaluate_all("flags", flag["id"], users)
    emulator.edit("flags", flag["id"], rolloutPercentage=40)
    many = emulator.evaluate_all("flags", flag["id"], users)
    assert 50 < few.count("on") < 160 < 300 < many.count("on") < 500
    assert [user for user, old, new in zip(users, few, many, strict=True) if old and not new] == []


def test_the_emulator_resolves_an_amplitude_id_that_is_not_the_user_id(emulator: Emulator) -> None:
    flag = emulator.create_flag(**a_config(rolloutPercentage=50))
    names = [f"user-{number}" for number in range(200)]
    found = emulator.evaluate_all("flags", flag["id"], [{"user_id": name} for name in names])
    assert found == emulator.evaluate_all("flags", flag["id"], [{"user_id": name, "device_id": "d"} for name in names])
    assert found != emulator.evaluate_all("flags", flag["id"], [{"amplitude_id": name} for name in names])
    by_device = emulator.evaluate_all("flags", flag["id"], [{"device_id": name} for name in names])
    assert set(by_device) == {"on", None}


# The deployments' endpoint


def test_the_vendors_own_sdk_gets_its_variants(emulator: Emulator, server_key: str, deployed: list[str]) -> None:
    three = {"variants": [{"key": "a", "payload": {"x": 1}}, {"key": "b"}], "rolloutWeights": {"a": 1, "b": 2}}
    split = a_config(**three, rolloutPercentage=80, bucketingKey="user_id", deployments=deployed)
    emulator.create_flag(**split)
    emulator.create_experiment(**a_config(key="disabled", enabled=False, deployments=deployed))
    emulator.create_flag(**a_config(key="elsewhere", rolloutPercentage=100))
    emulator.create_flag(**a_config(key="archived", rolloutPercentage=100, deployments=deployed, deleted=True))
    config = RemoteEvaluationConfig(server_url=emulator.base_url, fetch_retries=0)
    audience, seen = Audience.of(split), set()
    with Experiment.initialize_remote(server_key, config) as sdk:
        for number in range(30):
            found = sdk.fetch_v2(User(user_id=f"user-{number}"))
            expected = audience.evaluate({"user_id": f"user-{number}"})
            assert {name: variant.key for name, variant in found.items()} == {
                "checkout": expected or "off",
                "disabled": "off",
            }
            assert found["checkout"].payload == ({"x": 1} if expected == "a" else None)
            seen.add(expected)
    assert seen == {"a", "b", None}
    assert emulator.requests()["by_route"]["POST /sdk/v2/vardata"] == 30


def test_a_user_in_the_query_in_the_header_and_in_the_body(
    emulator: Emulator, server_key: str, deployed: list[str]
) -> None:
    pro = a_segment(a_condition("gp:plan", "is", "pro"), name="Pro", percentage=100, bucketingKey="user_id")
    for key in ("one", "two"):
        fields = {"key": key, "rolloutPercentage": 0, "targetSegments": [pro], "deployments": deployed}
        emulator.create_flag(**a_config(**fields))
    user = {"user_id": "ann", "user_properties": {"plan": "pro"}}

    def encoded(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    ways: list[dict[str, Any]] = [
        {"params": {"user_id": "ann", "context": json.dumps({"user_properties": {"plan": "pro"}})}},
        {"headers": {"X-Amp-Exp-User": encoded(user)}},
        {"method": "POST", "json": user},
    ]
    for way in ways:
        found = vardata(emulator, server_key, **way).json()
        assert {name: variant["key"] for name, variant in found.items()} == {"one": "on", "two": "on"}
        assert found["one"]["metadata"]["segmentName"] == "segment 'Pro'"
    chosen = [
        {"params": {"user_id": "ann", "flag_keys": "two,three"}},
        {"headers": {"X-Amp-Exp-User": encoded({"user_id": "ann"}), "X-Amp-Exp-Flag-Keys": encoded(["two"])}},
    ]
    for way in chosen:
        assert vardata(emulator, server_key, **way).json() == {
            "two": {"key": "off", "metadata": {"default": True, "segmentName": "all other users"}}
        }


def test_a_deployment_key_needs_its_own_scheme(emulator: Emulator, server_key: str) -> None:
    assert vardata(emulator, server_key, headers={"Authorization": f"Bearer {server_key}"}).status_code == 401


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ({"headers": {"Authorization": "Bearer ampex_demo"}}, 401),
        ({"headers": {"Authorization": "Api-Key server-unknown"}}, 401),
        ({"headers": {"X-Amp-Exp-User": "e30*"}}, 400),
        ({"headers": {"X-Amp-Exp-User": "WzFd"}}, 400),
        ({"params": {"context": "[1]"}}, 400),
        ({"params": {"context": '{"user_properties": 1}'}}, 400),
        ({"method": "POST", "data": b"{"}, 400),
    ],
)
def test_a_wrong_key_or_user_is_refused(emulator: Emulator, server_key: str, way: dict[str, Any], status: int) -> None:
    answer = vardata(emulator, server_key, **way)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert "server-unknown" not in answer.text


def test_an_archived_deployment_gets_nothing(
    emulator: Emulator, api: Api, server_key: str, deployed: list[str]
) -> None:
    assert vardata(emulator, server_key).status_code == 200
    api.ok("PATCH", f"/deployments/{deployed[0]}", json={"archive": True})
    assert vardata(emulator, server_key).status_code == 401


def test_faults_apply_to_it(emulator: Emulator, server_key: str) -> None:
    emulator.fault("status", status=503, route="GET /sdk/v2/vardata")
    assert [vardata(emulator, server_key).status_code for _ in range(2)] == [503, 200]


def test_sticky_bucketing_keeps_who_got_it_until_the_flag_is_disabled(
    emulator: Emulator, server_key: str, deployed: list[str]
) -> None:
    sticky = {"stickyBucketing": True, "deployments": deployed}
    flag = emulator.create_experiment(**a_config(rolloutPercentage=100, **sticky))

    def keys(*names: str) -> list[str]:
        return [vardata(emulator, server_key, params={"user_id": name}).json()["checkout"]["key"] for name in names]

    assert keys("ann", "ben") == ["on", "on"]
    emulator.edit("experiments", flag["id"], rolloutPercentage=0)
    assert keys("ann", "cid", "ben") == ["on", "off", "on"]
    assert emulator.evaluate_all("experiments", flag["id"], [{"user_id": "ann"}, {"user_id": "dan"}]) == ["on", None]
    emulator.edit("experiments", flag["id"], enabled=False)
    assert keys("ann", "ben") == ["off", "off"]
    emulator.edit("experiments", flag["id"], enabled=True, stickyBucketing=False)
    assert keys("ann", "ben") == ["off", "off"]


def test_a_question_about_who_gets_it_stores_nothing(emulator: Emulator) -> None:
    flag = emulator.create_experiment(**a_config(rolloutPercentage=100, stickyBucketing=True))
    assert emulator.evaluate("experiments", flag["id"], user_id="ann") == "on"
    emulator.edit("experiments", flag["id"], rolloutPercentage=0)
    assert emulator.evaluate("experiments", flag["id"], user_id="ann") is None


def test_flags_that_depend_on_each_other_reach_nobody(emulator: Emulator) -> None:
    for id, other in (("901", "902"), ("902", "901")):
        fields = {"id": id, "key": id, "rolloutPercentage": 100, "parentDependencies": {"flags": {other: ["on"]}}}
        emulator.create_flag(**a_config(**fields))
    assert emulator.evaluate("flags", "901", user_id="ann") is None


@pytest.mark.parametrize(
    ("op", "value", "plan", "expected"),
    [
        ("glob match", "p*", "pro", "on"),
        ("glob match", "p*", "Pro", None),
        ("glob does not match", "p*", "team", "on"),
        ("glob match", "[p]*", "pro", None),
        ("is", "(none)", None, "on"),
        ("is", "false", False, "on"),
        ("is", "0", 0, "on"),
    ],
)
def test_conditions_that_the_published_evaluators_do_not_agree_on(
    emulator: Emulator, op: str, value: str, plan: object, expected: str | None
) -> None:
    segment = a_segment(a_condition("gp:plan", op, value), percentage=100)
    flag = emulator.create_flag(**a_config(rolloutPercentage=0, targetSegments=[segment]))
    assert emulator.evaluate("flags", flag["id"], user_id="ann", user_properties={"plan": plan}) == expected


def test_groups_let_their_share_of_the_users_in(emulator: Emulator) -> None:
    """The share that `GroupShare` calculates, counted user by user."""
    fields: dict[str, Any] = {"variants": [{"key": "on"}], "enabled": True, "rolloutPercentage": 100}
    first, second = (emulator.create_experiment(key, **fields)["id"] for key in ("first", "second"))
    flag = emulator.create_flag("flag", **fields)["id"]
    slots = [{"percentage": 30, "experiments": [first]}, {"percentage": 70, "experiments": [second]}]
    emulator.load({"mutexes": [{"key": "tests", "name": "Tests", "slots": slots}]})
    users = [{"user_id": f"user-{number}"} for number in range(4000)]

    def who(kind: str, id: str) -> set[int]:
        return {place for place, variant in enumerate(emulator.evaluate_all(kind, id, users)) if variant is not None}

    def percentage(id: str) -> float:
        groups = emulator.dump()
        share = GroupShare.of(id, groups["mutexes"], groups["holdouts"])
        assert share is not None
        assert share.percentage is not None
        return share.percentage

    def agree() -> bool:
        return all(abs(len(who("experiments", id)) / 40 - percentage(id)) < 3 for id in (first, second))

    in_first, in_second = who("experiments", first), who("experiments", second)
    assert in_first.isdisjoint(in_second)
    assert in_first | in_second == set(range(4000)) == who("flags", flag)
    assert agree()
    held = {"key": "none", "name": "None", "holdoutPercentage": 20, "experiments": [first, second]}
    emulator.load({"holdouts": [held]})
    kept = who("experiments", first) | who("experiments", second)
    assert who("experiments", first) < in_first
    assert abs(len(kept) / 40 - 80) < 3
    assert agree()
    emulator.edit("experiments", first, rolloutPercentage=25)
    assert abs(len(who("experiments", first)) / 40 - 25 * percentage(first) / 100) < 2


def test_individuals_are_in_their_slot_and_inclusions_come_before_groups(emulator: Emulator) -> None:
    fields: dict[str, Any] = {"variants": [{"key": "on"}], "enabled": True, "rolloutPercentage": 100}
    id = emulator.create_experiment("first", inclusions={"on": ["tester"]}, **fields)["id"]
    slots = [{"percentage": 1, "experiments": [id], "individuals": ["ana"]}, {"percentage": 99}]
    holdout = {"holdoutPercentage": 99, "experiments": [id], "individualExclusion": ["ana"]}
    group = {"key": "none", "name": "None", **holdout, "individualInclusion": ["tester", "bob"]}
    emulator.load({"mutexes": [{"key": "tests", "name": "Tests", "slots": slots}], "holdouts": [group]})
    got = emulator.evaluate_all("experiments", id, [{"user_id": user} for user in ("ana", "tester", "bob")])
    assert got == ["on", "on", None]
    emulator.load({"holdouts": [{**group, "id": emulator.dump()["holdouts"][0]["id"], "individualExclusion": []}]})
    everyone = emulator.evaluate_all("experiments", id, [{"user_id": f"user-{number}"} for number in range(500)])
    assert sum(variant is not None for variant in everyone) < 5
