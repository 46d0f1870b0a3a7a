"""Values that no service can keep are refused when Airflow parses the DAG. The error names the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.operators.lifecycle import (
    AmplitudeCreateFlagOperator,
    AmplitudeEditOperator,
    AmplitudeEnableOperator,
)
from airflow_provider_ampexp.operators.rollout import AmplitudeSetRolloutOperator, AmplitudeSetWeightsOperator
from airflow_provider_ampexp.operators.variants import AmplitudeCreateVariantOperator, AmplitudeEditVariantOperator


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def create(**fields: Any) -> Callable[[], object]:
    return lambda: AmplitudeCreateFlagOperator(task_id="t", flag_key="search", **fields)


def create_variant(payload: Any) -> Callable[[], object]:
    return lambda: AmplitudeCreateVariantOperator(task_id="t", flag_key="search", variant="on", payload=payload)


def edit_variant(payload: Any) -> Callable[[], object]:
    return lambda: AmplitudeEditVariantOperator(
        task_id="t", flag_key="search", variant="on", fields={"payload": payload}
    )


def edit(**fields: Any) -> Callable[[], object]:
    return lambda: AmplitudeEditOperator(task_id="t", flag_key="search", fields=fields)


def segment(**fields: Any) -> dict[str, Any]:
    germany = {"type": "property", "prop": "country", "op": "is", "values": ["DE"]}
    return {"name": "DE", "percentage": 10, "conditions": [germany], "rolloutWeights": {"on": 1}, **fields}


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    **{
        f"{kind} of {levels} levels": (make(nested(levels)), "payload: expected at most 64 levels")
        for kind, make in (("payload", create_variant), ("edited payload", edit_variant))
        for levels in (65, 98, 450, 5_000)
    },
    "payload in a variant of a new flag": (
        create(variants=[{"key": "on", "payload": nested(65)}]),
        r"variants\[0\].payload: expected at most 64 levels",
    ),
    "payload in a circle": (create_variant(CIRCLE), "payload: not JSON: Circular reference"),
    "key that is a number": (create_variant({"a": {1: 2}}), "payload: not JSON: expected a text as key, got 1"),
    "key that is 0": (create_variant({0: 2}), "payload: not JSON: expected a text as key, got 0"),
    "half of a character": (create_variant({"a": "\ud800"}), "payload: not JSON: .*surrogates"),
    "description with half of a character": (edit(description="\ud800"), "fields.*not JSON"),
    "weight": (
        lambda: AmplitudeSetWeightsOperator(task_id="t", flag_key="search", weights={"on": 10**309}),
        r"weights\.on: expected a weight of at most 1,000,000,000, got 1000",
    ),
    "weight of a new flag": (create(rollout_weights={"on": 10**5_000}), "got a int with too many digits"),
    "weight in a segment": (
        edit(targetSegments=[segment(rolloutWeights={"on": 10**400})]),
        r"targetSegments\[0\]\.rolloutWeights\.on: expected a weight",
    ),
    "percentage": (
        lambda: AmplitudeSetRolloutOperator(task_id="t", flag_key="search", percentage=10**400),
        r"percentage: 1000+\.\.\. is outside 0 to 100",
    ),
    "key": (
        lambda: AmplitudeEnableOperator(task_id="t", flag_key=10**5_000),
        "flag_key: expected a key or an id, got a int with too many digits",
    ),
}


@pytest.mark.parametrize("value", REFUSED)
def test_a_value_that_no_service_keeps_is_refused_while_the_dag_is_parsed(value: str) -> None:
    make, words = REFUSED[value]
    with DAG("refused"), pytest.raises(InvalidInputError, match=words) as refused:
        make()
    assert len(str(refused.value)) < 500


def test_a_payload_of_64_levels_is_written_and_read(emulator: Emulator) -> None:
    emulator.create_flag("search", variants=[{"key": "on"}])
    AmplitudeCreateVariantOperator(task_id="t", flag_key="search", variant="deep", payload=nested(64)).execute({})
    again = AmplitudeCreateVariantOperator(task_id="t", flag_key="search", variant="deep", payload=nested(64))
    assert again.execute({})["changed"] is False


def test_a_segment_with_a_percentage_needs_a_weight(emulator: Emulator) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    emulator.create_flag("search", variants=[{"key": "on"}])
    task = AmplitudeEditOperator(
        task_id="t", flag_key="search", fields={"targetSegments": [segment(rolloutWeights={})]}
    )
    with pytest.raises(AirflowFailException, match="the weights of segment 'DE' at 10 % would all be 0"):
        task.execute({})
