"""The content of an alert of a rollout. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, cast

from airflow_provider_ampexp._validate import InvalidInputError

Notifier: TypeAlias = Callable[[Any], object]
"""An object of a ``BaseNotifier``, or a function that takes Airflow's context."""
Notifiers: TypeAlias = Notifier | Sequence[Notifier]
AlertEvent: TypeAlias = Literal["rollback", "abort", "hold", "approval_needed"]


class RolloutAlert(TypedDict):
    """The value of ``rollout`` in a notifier's context. Each key is there; ``None`` if it does not apply.

    Percentages are numbers from 0 to 100. docs/alerts.md says which event fills which key.
    """

    event: AlertEvent
    text: str
    """The whole message in one or two sentences."""
    why: str
    cause: str | None
    """``hold``: ``guardrails`` or ``tag``. ``abort``: the kind of the reason, such as ``drift`` or ``held``."""
    kind: Literal["flag", "experiment"]
    key: str | None
    id: str | None
    segment: str | None
    url: str | None
    """The flag in Amplitude."""
    percentage: float | None
    """Of the flag now; ``None`` if Amplitude did not respond."""
    enabled: bool | None
    from_percentage: float | None
    to_percentage: float | None
    confirmed: bool | None
    """``rollback``: whether the lower percentage was read back."""
    stage: int | None
    """``approval_needed``: the percentage of the stage that needs the approval."""
    approvers: list[str]
    approve_url: str | None
    """``approval_needed``: the page of Airflow with the request."""


def new_alert(event: AlertEvent, text: str, why: str, *, confirmed: bool | None) -> RolloutAlert:
    """Return an alert that has the given values, and ``None`` for all others."""
    blank: dict[str, Any] = {**dict.fromkeys(RolloutAlert.__annotations__), "kind": "flag", "approvers": []}
    return cast("RolloutAlert", {**blank, "event": event, "text": text, "why": why, "confirmed": confirmed})


def as_notifiers(field: str, value: Notifiers | None) -> tuple[Notifier, ...]:
    """Read the argument ``on_rollback`` or another one of alerts.

    :raises InvalidInputError: names the value that is no function of a context
    """
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(_notifier(f"{field}[{place}]", given) for place, given in enumerate(value))
    return (_notifier(field, value),)


def _notifier(field: str, value: object) -> Notifier:
    if not callable(value) or isinstance(value, type) or inspect.iscoroutinefunction(value):
        raise InvalidInputError(field, f"expected a notifier or a function of the context, got {value!r}")
    return value
