"""The additional fields of experiments: state, dates and decision."""

from __future__ import annotations

from typing import Any

from airflow_provider_ampexp.emulator._state.errors import bad_request

EXPERIMENT_FIELDS: dict[str, Any] = {
    "decision": None,
    "decisionReason": None,
    "rolledOutVariant": None,
    "stickyBucketing": False,
    "state": "planning",
    "startDate": None,
    "endDate": None,
    "experimentType": "hypothesis-testing",
}


def follow_edit(before: dict[str, Any], config: dict[str, Any], changes: dict[str, Any], today: str) -> None:
    """Set the state after an edit. The contract has the states, but not the transitions.

    Enabling starts a planned experiment. A decision to roll out or to roll back ends it.
    """
    if config["enabled"] and not before["enabled"] and config["state"] == "planning":
        config["state"] = "running"
        config["startDate"] = config["startDate"] or today
    if changes.get("decision") in ("rollout", "rollback"):
        config["state"] = "decision-made"
        config["endDate"] = config["endDate"] or today
    chosen = changes.get("rolledOutVariant")
    if chosen is not None and chosen not in [variant["key"] for variant in config["variants"]]:
        raise bad_request(f"rolledOutVariant: there is no variant {chosen!r}.")
