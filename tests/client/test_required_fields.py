"""A missing required field is refused before a request, and a misspelt name gets the nearest name as a hint."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.client import _request_body as request_body

CONDITION = {"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}
SEGMENT = {"name": "Beta", "conditions": [CONDITION], "percentage": 5, "rolloutWeights": {"on": 1}}


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize("name", SEGMENT)
def test_a_segment_that_is_edited_needs_all_its_fields(name: str) -> None:
    fields = {"targetSegments": [SEGMENT, without(SEGMENT, name)]}
    with pytest.raises(InvalidInputError, match=rf"targetSegments\[1\]\.{name}: is required"):
        request_body.flag_fields(fields, patched=True)


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("name", CONDITION)
def test_a_condition_needs_all_its_fields(name: str, patched: bool) -> None:
    fields = {"targetSegments": [{**SEGMENT, "conditions": [CONDITION, without(CONDITION, name)]}]}
    with pytest.raises(InvalidInputError, match=rf"targetSegments\[0\]\.conditions\[1\]\.{name}: is required"):
        request_body.flag_fields(fields, patched=patched)


def test_a_misspelt_field_of_a_segment_is_met_with_the_nearest() -> None:
    fields = {"targetSegments": [{**without(SEGMENT, "percentage"), "percentge": 5}]}
    with pytest.raises(InvalidInputError, match=r"percentage: is required; is 'percentge' meant\?"):
        request_body.flag_fields(fields, patched=True)


def test_a_condition_on_a_cohort_is_refused() -> None:
    fields = {"targetSegments": [{**SEGMENT, "conditions": [{**CONDITION, "type": "cohort"}]}]}
    with pytest.raises(InvalidInputError, match=r"conditions\[0\]\.type: expected 'property', got 'cohort'"):
        request_body.flag_fields(fields, patched=True)


@pytest.mark.parametrize("values", ["pro", [1], None, {"a": 1}])
def test_the_values_of_a_condition_are_a_list_of_strings(values: Any) -> None:
    fields = {"targetSegments": [{**SEGMENT, "conditions": [{**CONDITION, "values": values}]}]}
    with pytest.raises(InvalidInputError, match=r"conditions\[0\]\.values"):
        request_body.flag_fields(fields, patched=True)


def test_a_variant_of_a_new_flag_needs_a_key() -> None:
    with pytest.raises(InvalidInputError, match=r"variants\[1\]\.key: is required"):
        request_body.flag_fields({"projectId": "1", "key": "a", "variants": [{"key": "on"}, {"name": "Off"}]})


def test_what_was_read_is_sent_back_as_it_is() -> None:
    segment = {"name": "Theirs", "percentage": 0.5, "conditions": [{"type": "new"}], "extra": 1}
    assert request_body.flag_fields({"targetSegments": [segment]}, patched=True, as_read=True) == {
        "targetSegments": [segment]
    }
