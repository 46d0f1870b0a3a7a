"""The JSON Schema of a plan file, for editors."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_ampexp.plans._models import TARGETS, PlanFile


def plan_schema() -> dict[str, Any]:
    """Return the schema for an editor's YAML support.

    The schema has the fields and their types. ``check`` also applies the rules of a rollout.
    """
    schema = _plain(PlanFile.model_json_schema())
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",  # the newest version that editors support completely
        **schema,
        "title": "Rollout plan",
        "oneOf": [{"required": [name]} for name in (*TARGETS, "release")],
    }


def schema_text() -> str:
    """Return the schema as the text of a file."""
    return json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"


def _plain(schema: Any) -> Any:
    """Return a schema without pydantic's titles, which only repeat the names."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: part for name, part in schema.items() if not (name == "title" and isinstance(part, str))}
    return {name: _plain(part) for name, part in kept.items() if not (name == "default" and part is None)}
