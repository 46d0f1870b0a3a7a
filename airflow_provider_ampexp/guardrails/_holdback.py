"""A guardrail that compares the users of a release with the users who do not have it yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import timedelta
from typing import Any, get_args

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.bucketing import Audience
from airflow_provider_ampexp.client._optional_fields import segments_of
from airflow_provider_ampexp.guardrails._bands import Bands, Split, read_row
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult
from airflow_provider_ampexp.guardrails._multinomial import p_value
from airflow_provider_ampexp.guardrails._sequential import Lift, lift, smallest_harm
from airflow_provider_ampexp.guardrails._warehouse import QueryGuardrail, Row
from airflow_provider_ampexp.rollout._analysis import LiftInterval, Worse
from airflow_provider_ampexp.rollout._duration import DurationLike, format_duration, parse_duration
from airflow_provider_ampexp.rollout._history import highest_exposure, in_effect
from airflow_provider_ampexp.rollout._vocabulary import Verdict

RATIO_SHARE = 0.1
"""The part of ``alpha`` for the test of the groups' sizes. The rest is for the test of harm."""
MOST_CONTROL_EXPOSED = 0.01
"""The largest share of the control that may be exposed to the feature."""
MOST_EXPOSED_IN_CONTROL = 0.5
"""The largest share of the exposed users that may be in the control.

At a low percentage, a wrong id exposes only a small share of the control, but most of the exposed users are in it.
"""
FEW_EXPOSED = 10
"""The number of users of the control that may always be exposed, such as testers with an inclusion."""


@dataclass(frozen=True)
class HoldbackGuardrail(QueryGuardrail):
    """Fail if a metric of the users with the feature is shown to be worse than that of the users without it.

    The percentage lets users in by a hash of their id, which is random. So the users who are not in yet are a
    randomised control group, and any rollout is an experiment. The guardrail computes the same hash. The test is
    sequential (see ``_sequential.py``): over all looks of a stage together, a feature that changes nothing fails with a
    probability of at most ``alpha``.

    :param conn_id: a connection whose hook is a ``DbApiHook``
    :param sql: returns a row for each user who was active since ``{{ stage_started_at }}``: the value of the flag's
        bucketing key, the metric, and optionally whether the user was exposed to the feature. Templated as the query of
        :class:`~airflow_provider_ampexp.guardrails.SqlGuardrail`. The rows are streamed.
    :param name: the name of the metric in logs, such as ``"orders per user"``
    :param worse: ``"lower"`` if a lower metric is worse, or ``"higher"``
    :param alpha: the probability of a false alarm over all looks of a stage
    :param at_most_worse: the harm that is acceptable; 0.02 is 2 %. Inconclusive until more harm is ruled out. Default:
        pass while no harm is shown
    :param detect: the size of harm that is found first. Any value is valid.
    :param min_users: inconclusive until each group should have this many users
    :param min_nonzero: inconclusive until each group should have this many users with a metric other than 0
    :param cap: a metric above it counts as this value, so that one user cannot outweigh all others
    :param lookback: the control are users who did not have the feature within this time; default: 30 days
    :param variant: the variant whose users are compared; required if the flag has several variants with a weight. Also
        the value of ``{{ variant }}``
    :param no_data: the meaning of no user, and of no control left: ``"rollback"``, ``"hold"`` or ``"pass"``
    :param no_data_grace: the time after the start of the stage during which no data and too few users do not count
        towards a limit: a ``timedelta``, or a text such as ``"2h"``; default: none
    :param loaded_at_sql: a query for the time up to which the data are complete. Then ``{{ loaded_until }}`` is in the
        query, and a pass needs data of the whole soak. A query without ``{{ loaded_until }}`` waits for them.
    :param load_timeout: how long after the soak the data may be late, before the result is an error
    :param effect: ``"rollback"``, or ``"hold"`` to stop raising until the guardrail passes
    :param dry_run: only report, without an effect
    :param failure_limit: the number of consecutive fails before the effect
    :param inconclusive_limit: the number of consecutive inconclusive results before the effect
    :param error_limit: the number of consecutive errors before the effect
    :param timeout: the time limit: a ``timedelta`` or a text such as ``"5m"``. After it the result is an error.
    :raises InvalidInputError: when an argument is invalid; the error names the argument

    The result's value is the relative difference: -0.031 is 3.1 % lower with the feature.
    """

    _: KW_ONLY
    worse: Worse
    alpha: float = 0.01
    at_most_worse: float | None = None
    detect: float = 0.05
    min_users: int = 100
    min_nonzero: int = 25
    cap: float | None = None
    lookback: DurationLike = timedelta(days=30)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.worse not in get_args(Worse):
            raise InvalidInputError("worse", f"expected one of {', '.join(get_args(Worse))}, got {self.worse!r}")
        _check_above_0("alpha", self.alpha, below=1)
        _check_above_0("detect", self.detect)
        for name in ("at_most_worse", "cap"):
            if getattr(self, name) is not None:
                _check_above_0(name, getattr(self, name))
        for name in ("min_users", "min_nonzero"):
            least = getattr(self, name)
            if isinstance(least, bool) or not isinstance(least, int) or least < 1:
                raise InvalidInputError(name, f"expected a whole number, 1 or more, got {least!r}")
        object.__setattr__(self, "lookback", parse_duration("lookback", self.lookback))

    def _judge(self, moment: CheckContext) -> CheckResult:
        """Read the users, and compare both groups.

        :raises ValueError: when there is no control, or a row is not a user; the message has the reason
        """
        split = self._split(moment)
        if split.highest >= 100:
            why = f"no control is left: the flag is at 100 %, or was within {format_duration(self._lookback)}"
            if moment.is_preflight:
                raise ValueError(why)
            return self._without_data(moment, why)
        return self.compare(moment, self._bands(moment, split))

    def check_query(self, moment: CheckContext) -> None:
        """Run the query, and check its rows. It does not need the configuration of the flag.

        :raises ValueError: when a row is not a user
        """

        def take(rows: Sequence[Row]) -> None:
            for row in rows:
                read_row(row)

        self._stream("sql", self.sql, moment, take)

    def smallest_harm(self, percentage: float, users: float, variation: float) -> float | None:
        """Return the smallest relative harm that is found at a percentage with a probability of 0.8 or more.

        :param users: the users who are active during the stage, in both groups together
        :param variation: the metric's standard deviation divided by its mean
        :returns: ``None`` where no control is left
        """
        alpha = self.alpha * (1 - RATIO_SHARE)
        return smallest_harm(users, percentage / 100, variation, alpha=alpha, detect=self.detect)

    # the groups

    def _split(self, moment: CheckContext) -> Split:
        audience = Audience.of(moment.config).at(moment.percentage, moment.segment)
        if audience.is_sticky:
            raise ValueError("sticky bucketing keeps users in, so the users without the feature are no control")
        allocation = audience.allocation_of(moment.segment)
        variants = [variant for variant, _ in allocation.weights]
        if self.variant not in ([None, *variants] if len(variants) == 1 else variants):
            raise ValueError(f"variant: expected one of the variants with a weight, {variants}, got {self.variant!r}")
        self._refuse_another_hash(moment)
        highest = highest_exposure(moment.history, moment.now - self._lookback)
        return Split(allocation, max(highest, moment.percentage), self.variant if len(variants) > 1 else None)

    def _refuse_another_hash(self, moment: CheckContext) -> None:
        """Raise ``ValueError`` if users had the feature by another hash, because such users are now in both groups."""
        now = _hash_fields(moment.config, moment.segment)
        for entry in in_effect(moment.history, moment.now - self._lookback):
            if entry.exposure is not None and not entry.exposure.effective_percentage:
                continue
            for name, was in _hash_fields(entry.audience.shown, moment.segment).items():
                if was != now.get(name, was):
                    raise ValueError(
                        f"no control is left: {name} was changed within {format_duration(self._lookback)} ({entry} had "
                        "another one), so users of the control had the feature"
                    )

    def _bands(self, moment: CheckContext, split: Split) -> Bands:
        bands, audience = Bands(split, self.cap), Audience.of(moment.config)
        columns = self._stream("sql", self.sql, moment, bands.add)
        others = ["dependencies"] * bool(audience.dependencies) + ["target segments"] * bool(audience.segments)
        if others and columns < 3:
            raise ValueError(
                f"the flag has {' and '.join(others)}, so the hash alone does not decide who has the feature: add a "
                "third column, exposed"
            )
        check_exposed(bands)
        return bands

    # the tests

    def compare(self, moment: CheckContext, bands: Bands) -> CheckResult:
        """Return the result for both groups."""
        return self._too_few(moment, bands) or self._ratio(bands) or self._harm(moment, bands)

    def _too_few(self, moment: CheckContext, bands: Bands) -> CheckResult | None:
        """Return a result for too few users. The expected numbers count, so that a missing group is still found."""
        users, nonzero = (bands.treated.count + bands.control.count, bands.treated.nonzero + bands.control.nonzero)
        if not users:
            return self._without_data(moment, "the query has no users")
        least = min(bands.split.shares)
        counts = f"{bands.treated.count:,} users with the feature and {bands.control.count:,} in the control"
        if users * least < self.min_users:
            why = f"too few users to expect {self.min_users:,} in each group: {counts}"
        elif nonzero * least < self.min_nonzero:
            why = f"too few users with a metric other than 0 to expect {self.min_nonzero:,} in each group: {counts}"
        else:
            return None
        return self._too_little(moment, why, None)

    def _ratio(self, bands: Bands) -> CheckResult | None:
        counts = bands.treated.count, bands.control.count
        if p_value(counts, bands.split.shares) > self.alpha * RATIO_SHARE:
            return None
        with_it, without = (f"{sum(counts) * share:,.0f}" for share in bands.split.shares)
        return CheckResult(
            Verdict.FAIL,
            f"users are missing from a group: {counts[0]:,} with the feature (expected {with_it}) and {counts[1]:,} "
            f"in the control (expected {without})",
        )

    def _harm(self, moment: CheckContext, bands: Bands) -> CheckResult:
        found = lift(bands.treated, bands.control, alpha=self.alpha * (1 - RATIO_SHARE), detect=self.detect)
        if found is None:
            return self._too_little(moment, "all users have the same value", None)
        interval = LiftInterval(round(found.low, 6), round(found.high, 6), self.worse, self.at_most_worse)
        return replace(self._verdict(moment, found, self._sentence(found, bands)), interval=interval)

    def _verdict(self, moment: CheckContext, found: Lift, why: str) -> CheckResult:
        least, most = (-found.high, -found.low) if self.worse == "lower" else (found.low, found.high)
        if self.at_most_worse is not None and most <= self.at_most_worse:
            return CheckResult(Verdict.PASS, why, found.estimate)
        if least > 0:
            return CheckResult(Verdict.FAIL, why, found.estimate)
        if self.at_most_worse is not None:
            return self._too_little(
                moment, f"{why}. {_percent(self.at_most_worse)} worse is not ruled out", found.estimate
            )
        return CheckResult(Verdict.PASS, why, found.estimate)

    def _sentence(self, found: Lift, bands: Bands) -> str:
        side = "lower" if found.estimate < 0 else "higher"
        return (
            f"{_percent(abs(found.estimate))} {side} ({100 * (1 - self.alpha):g} % always-valid bounds "
            f"{_percent(found.low)} to {_percent(found.high)}) among {bands.treated.count:,} with the feature "
            f"than among {bands.control.count:,} in the control"
        )

    @property
    def _lookback(self) -> timedelta:
        return parse_duration("lookback", self.lookback)


def _hash_fields(config: Mapping[str, Any], segment: str | None) -> dict[str, str]:
    """Return the fields of a configuration that decide where the hash puts a user, as far as it shows them."""
    named: Mapping[str, Any] = config
    if segment is not None:
        named = next((target for target in segments_of(config) if target.get("name") == segment), {})
    shown = {"bucketingSalt": config.get("bucketingSalt"), "bucketingKey": named.get("bucketingKey")}
    return {name: value for name, value in shown.items() if isinstance(value, str)}


def check_exposed(bands: Bands) -> None:
    """Raise ``ValueError`` if too many users of the control were exposed."""
    in_control, in_treated = bands.exposed
    if in_control <= FEW_EXPOSED:
        return
    key = bands.split.allocation.key
    of_control = in_control / bands.control.count
    of_exposed = in_control / (in_control + in_treated)
    if of_control > MOST_CONTROL_EXPOSED or of_exposed > MOST_EXPOSED_IN_CONTROL:
        raise ValueError(
            f"{in_control:,} of {bands.control.count:,} users of the control were exposed, and {in_treated:,} of "
            f"{bands.treated.count:,} users with the feature. Is the first column {key!r}, the flag's "
            "bucketing key? Or do inclusions or target segments let these users in?"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _check_above_0(field: str, given: object, below: float = math.inf) -> None:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not 0 < given < below:  # type: ignore[operator]
        between = "above 0" if below == math.inf else f"between 0 and {below:g}"
        raise InvalidInputError(field, f"expected a number {between}, got {given!r}")
