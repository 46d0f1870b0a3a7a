"""The context of a check, for the tests of guardrails."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_ampexp.guardrails import CheckContext

BEGAN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def moment(hours: float = 1, **changed: Any) -> CheckContext:
    """Return a context some hours after the start of the stage."""
    known: dict[str, Any] = {
        "flag_key": "new-checkout",
        "percentage": 5.0,
        "stage_started_at": BEGAN,
        "now": BEGAN + timedelta(hours=hours),
        "variant": "treatment",
        "weights": {"control": 50, "treatment": 50},
    }
    return CheckContext(**{**known, **changed})
