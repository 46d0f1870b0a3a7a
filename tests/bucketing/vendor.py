"""The vendor's own evaluator (PyPI ``amplitude-experiment``), for a configuration of the Management API.

The service translates a configuration before its evaluators read it. This module repeats that translation: segments in
the order of evaluation, ranges of ``hash // 100`` in whole numbers that overlap by one, where the first match wins, and
no bucket at 100 % with one weighted variant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from amplitude_experiment.evaluation.engine import EvaluationEngine
from amplitude_experiment.evaluation.types import EvaluationFlag

_ENGINE = EvaluationEngine()
_SPLIT = 42949673


def vendor_variant(flags: Iterable[EvaluationFlag], row: Mapping[str, object]) -> str | None:
    """Evaluate a user with the vendor's evaluator. The last flag decides, and the flags before it are its parents."""
    flags = list(flags)
    custom = {name.removeprefix("gp:"): value for name, value in row.items() if name.startswith("gp:")}
    context = {"user": {**row, "user_properties": custom}}
    found = _ENGINE.evaluate(context, flags).get(flags[-1].key)
    return None if found is None or found.key == "off" else found.key


def vendor_flag(
    config: Mapping[str, Any],
    inclusions: Mapping[str, Iterable[str]] | None = None,
    parents: Mapping[str, Mapping[str, Any]] | None = None,
) -> EvaluationFlag:
    """Translate a configuration. ``parents`` are the configurations that it depends on, by id."""
    keys = [variant["key"] for variant in config["variants"]]
    segments: list[dict[str, Any]] = []
    if config["enabled"] and not config.get("deleted"):
        for id, variants in (config.get("parentDependencies") or {}).get("flags", {}).items():
            unmet = _condition(["result", (parents or {})[id]["key"], "key"], "is not", variants)
            segments.append({"conditions": [[unmet]], "variant": "off"})
        for key in keys:
            if members := list((inclusions or {}).get(key, ())):
                either = [[_condition(["context", "user", name], "is", members)] for name in ("user_id", "device_id")]
                segments.append({"conditions": either, "variant": key})
        for segment in config["targetSegments"]:
            conditions = [
                _condition(_selector(condition["prop"]), condition["op"], condition["values"])
                for condition in segment["conditions"]
            ]
            found = _segment(
                config, keys, segment["percentage"], segment["rolloutWeights"], segment.get("bucketingKey")
            )
            segments.append({**found, "conditions": [conditions] if conditions else None})
        segments.append(_segment(config, keys, config["rolloutPercentage"], config["rolloutWeights"], None))
    segments.append({"variant": "off"})
    variants = {key: {"key": key, "value": key} for key in [*keys, "off"]}
    flag: EvaluationFlag = EvaluationFlag.from_dict({"key": config["key"], "variants": variants, "segments": segments})
    for given, found in zip(segments, flag.segments, strict=True):
        if found.bucket is not None:  # reading makes 0.5 an int; the evaluator itself compares with 0.5
            found.bucket.allocations[0].range = given["bucket"]["allocations"][0]["range"]
    return flag


def _segment(
    config: Mapping[str, Any], keys: list[str], percentage: float, weights: Mapping[str, float], key: str | None
) -> dict[str, Any]:
    weighted = [(name, Fraction(weights[name])) for name in keys if weights.get(name, 0) > 0]
    if percentage == 100 and len(weighted) == 1:
        return {"variant": weighted[0][0]}
    total, start = sum(weight for _, weight in weighted), Fraction(0)
    distributions = []
    for name, weight in weighted:
        end = start + weight
        ends = [math.floor(_SPLIT * start / total), math.ceil(_SPLIT * end / total)]
        distributions.append({"variant": name, "range": ends})
        start = end
    return {
        "variant": "off",
        "bucket": {
            "selector": _selector(key or config["bucketingKey"]),
            "salt": config["bucketingSalt"],
            "allocations": [{"range": [0, percentage], "distributions": distributions}],
        },
    }


def _selector(prop: str) -> list[str]:
    path = ["user_properties", prop.removeprefix("gp:")] if prop.startswith("gp:") else [prop]
    return ["context", "user", *path]


def _condition(selector: list[str], op: str, values: Iterable[str]) -> dict[str, Any]:
    return {"selector": selector, "op": op, "values": list(values)}
