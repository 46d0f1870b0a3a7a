"""Sensors that wait for a percentage, or until a flag is enabled or disabled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_ampexp.operators import _arguments as arguments
from airflow_provider_ampexp.polling._conditions import EnabledIs, RolloutAtLeast
from airflow_provider_ampexp.sensors._base import AmplitudeSensor

__all__ = ["AmplitudeEnabledSensor", "AmplitudeRolloutSensor"]


class AmplitudeRolloutSensor(AmplitudeSensor):
    """Wait until a flag or experiment is enabled and reaches a percentage (contract: *Get details*).

    The sensor takes the arguments of :class:`~airflow_provider_ampexp.sensors._base.AmplitudeSensor`, and:

    :param at_least: the percentage to wait for, a whole number from 0 to 100 (templated). A disabled flag counts as
        0 %.
    :param segment: the name of a target segment, to wait for its percentage (templated)

    With sticky bucketing, users keep their variant, so more users than the percentage may have the feature. The first
    poll logs a warning about that.

    The task returns ``{"id", "key", "percentage", "enabled", "url"}``.
    """

    template_fields: Sequence[str] = (*AmplitudeSensor.template_fields, "at_least", "segment")

    def __init__(self, *, at_least: int | str, segment: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at_least = at_least
        self.segment = segment
        arguments.check_literal("at_least", at_least, arguments.percentage)
        arguments.check_literal("segment", segment, arguments.optional(arguments.text))
        self._begin_in_the_triggerer()

    def condition(self) -> RolloutAtLeast:
        """Return the condition: enabled, and this percentage or more."""
        segment = arguments.optional(arguments.text)("segment", self.segment)
        return RolloutAtLeast(arguments.percentage("at_least", self.at_least), segment)


class AmplitudeEnabledSensor(AmplitudeSensor):
    """Wait until a flag or experiment is enabled, or disabled (contract: *Get details*, ``enabled``).

    The sensor takes the arguments of :class:`~airflow_provider_ampexp.sensors._base.AmplitudeSensor`, and:

    :param enabled: ``True`` (default) waits for enabled, ``False`` for disabled (templated)

    The task returns ``{"id", "key", "enabled", "url"}``.
    """

    template_fields: Sequence[str] = (*AmplitudeSensor.template_fields, "enabled")

    def __init__(self, *, enabled: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.enabled = enabled
        arguments.check_literal("enabled", enabled, arguments.switch)
        self._begin_in_the_triggerer()

    def condition(self) -> EnabledIs:
        """Return the condition: enabled or disabled."""
        return EnabledIs(arguments.switch("enabled", self.enabled))
