"""A sensor that waits for an experiment's state."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from airflow_provider_ampexp import _validate as validate
from airflow_provider_ampexp.client import InvalidInputError
from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.polling._conditions import KNOWN_STATES, StateIs
from airflow_provider_ampexp.sensors._base import AmplitudeSensor

__all__ = ["AmplitudeExperimentStateSensor"]


class AmplitudeExperimentStateSensor(AmplitudeSensor):
    """Wait until an experiment has one of some states (contract: *Get details*, ``state``).

    The sensor takes the arguments of :class:`~airflow_provider_ampexp.sensors._base.AmplitudeSensor`, with
    ``experiment_key`` or ``experiment_id``, and:

    :param states: the states to wait for, such as ``["decision-made"]`` (templated). The service documents
        ``planning``, ``running`` and ``decision-made``. Another state causes a warning when Airflow parses the DAG.
    :param failed_states: states that end the wait with a failure (templated)

    The task returns ``{"id", "key", "state", "decision", "url"}``.
    """

    template_fields: Sequence[str] = (*AmplitudeSensor.template_fields, "states", "failed_states")

    def __init__(self, *, states: Sequence[str] | str, failed_states: Sequence[str] | str = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for way in ("flag_key", "flag_id"):
            if getattr(self, way) is not None:
                raise InvalidInputError(way, "a flag has no state; use experiment_key or experiment_id")
        self.states = states
        self.failed_states = failed_states
        arguments.check_literal("states", states, _some)
        arguments.check_literal("failed_states", failed_states, arguments.texts)
        for field, given in (("states", states), ("failed_states", failed_states)):
            for state in arguments.texts(field, given) if arguments.is_literal(given) else ():
                if state not in KNOWN_STATES:
                    meant = validate.nearest(state, KNOWN_STATES) or f" ({', '.join(KNOWN_STATES)})"
                    warnings.warn(f"{field}: {state!r} is not a documented state{meant}", stacklevel=2)
        if arguments.is_literal([states, failed_states]):
            _states(states, failed_states)
        self._begin_in_the_triggerer()

    def condition(self) -> StateIs:
        """Return the condition: one of the states."""
        return StateIs(*_states(self.states, self.failed_states))


def _states(states: object, failed_states: object) -> tuple[list[str], list[str]]:
    """Return the states to wait for, and the states that fail the wait."""
    found, failed = _some("states", states), arguments.texts("failed_states", failed_states)
    for place, state in enumerate(failed):
        if state in found:
            raise InvalidInputError(f"failed_states[{place}]", f"{state!r} is one of states too")
    return found, failed


def _some(field: str, value: object) -> list[str]:
    return validate.some(field, arguments.texts(field, value), "at least one state")
