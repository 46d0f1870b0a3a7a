"""The statuses of a wait: of its condition after one poll, and of the event that ends it.

Airflow's database has the values of events, so a value never changes.
"""

from __future__ import annotations

from airflow_provider_ampexp.rollout._vocabulary import Word


class SoakStatus(Word):
    """The status of the event that ends a soak."""

    DUE = "due"
    """The soak is complete, or the next check is due."""
    CHANGED = "changed"
    """The flag has changed, or an approver answered."""
    ERROR = "error"


class WaitStatus(Word):
    """The status of a sensor's condition, and of the event that ends its wait."""

    MET = "met"
    NEVER = "never"
    """The condition can no longer be met."""
    WAITING = "waiting"
    """The condition is not met yet. No event has this status."""
    TIMEOUT = "timeout"
    ERROR = "error"
