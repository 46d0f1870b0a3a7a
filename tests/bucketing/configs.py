"""Fixed and random configurations and users for evaluations."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

THREE = {"variants": [{"key": key} for key in "bca"], "rolloutWeights": {"c": 1, "b": 2, "a": 1}}
VALUES = [
    "Berlin",
    "berlin",
    "",
    "True",
    "TRUE",
    "false",
    "3",
    "10",
    "3.0",
    "x",
    "(none)",
    "[]",
    '["a", "b"]',
    "nan",
    "é",
]
OPERATORS = [
    *("is", "is not", "contains", "does not contain", "less", "less or equal", "greater", "greater or equal"),
    *("set is", "set is not", "set contains", "set does not contain"),
]
ODD_VALUES: list[object] = [None, 3, 3.0, 10, True, ["a", "b"], ["Berlin"], ["True", None], {"a": 1}, [1, 2], "b", "a"]


def a_condition(prop: str, op: str, *values: str) -> dict[str, Any]:
    return {"type": "property", "prop": prop, "op": op, "values": list(values)}


IS_X = a_condition("city", "is", "x")


def a_segment(*conditions: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": "Segment 1",
        "conditions": list(conditions),
        "percentage": 50,
        "bucketingKey": "amplitude_id",
        "rolloutWeights": {"on": 1},
        **fields,
    }


def a_config(**fields: Any) -> Any:
    return {
        "key": "checkout",
        "enabled": True,
        "bucketingKey": "amplitude_id",
        "bucketingSalt": "mHdQDzeE",
        "bucketingUnit": "User",
        "variants": [{"key": "on"}],
        "rolloutPercentage": 50,
        "rolloutWeights": {"on": 1},
        "targetSegments": [],
        **fields,
    }


def a_row(number: int = 1, **columns: object) -> dict[str, object]:
    return {"amplitude_id": f"{number}", "user_id": f"user-{number}", "device_id": None, **columns}


def random_configs(number: int) -> Iterator[tuple[dict[str, Any], dict[str, list[str]], dict[str, Any]]]:
    """Yield configurations with all features of an evaluation: segments, inclusions, dependencies, fractions."""
    for seed in range(number):
        chosen = random.Random(seed)
        keys = chosen.sample("abcd", chosen.randint(1, 4))

        def weights(chosen: random.Random = chosen, keys: list[str] = keys) -> dict[str, float]:
            return {key: chosen.choice([0, 1, 1, 2, 33, 0.5]) for key in chosen.sample(keys, len(keys))}

        def percentage(chosen: random.Random = chosen) -> float:
            return chosen.choice([0, 0.5, 1, 25, 50, 99, 99.5, 100, 100])

        segments = [
            a_segment(
                *(
                    a_condition(chosen.choice(["city", "gp:plan"]), chosen.choice(OPERATORS), chosen.choice(VALUES))
                    for _ in range(chosen.randint(1, 2))
                ),
                name=f"Segment {place}",
                percentage=percentage(),
                rolloutWeights=weights(),
                bucketingKey=chosen.choice(["amplitude_id", "user_id", "gp:account"]),
            )
            for place in range(chosen.randint(0, 3))
        ]
        if chosen.random() < 0.2:
            place = chosen.randint(0, len(segments))
            segments.insert(place, a_segment(name="Everybody", percentage=percentage(), rolloutWeights=weights()))
        config = a_config(
            enabled=chosen.random() < 0.95,
            deleted=chosen.random() < 0.05,
            bucketingSalt=f"salt{seed}",
            variants=[{"key": key} for key in keys],
            rolloutPercentage=percentage(),
            rolloutWeights=weights(),
            targetSegments=segments,
        )
        parents = {}
        if chosen.random() < 0.3:
            config["parentDependencies"] = {"flags": {"7": chosen.choice([["on"], ["off"], ["on", "x"]])}}
            parents = {"7": a_config(key="parent", bucketingSalt=f"parent{seed}")}
        inclusions = {
            key: [f"user-{chosen.randint(1, 5)}", "device-1"] for key in sorted(keys) if chosen.random() < 0.4
        }
        yield config, inclusions, parents


def random_rows(config: Mapping[str, Any], number: int = 20) -> list[dict[str, object]]:
    """Return users with random values for all properties that a random configuration reads."""
    chosen = random.Random(config["bucketingSalt"])
    return [
        a_row(
            place,
            city=chosen.choice([*VALUES[:2], None, "3"]),
            device_id=chosen.choice([None, "device-1", "device-2"]),
            **{"gp:plan": chosen.choice([*ODD_VALUES, *VALUES[3:]]), "gp:account": chosen.choice(["x", "y", None])},
        )
        for place in range(number)
    ]
