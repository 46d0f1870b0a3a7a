"""A guardrail that compares the exposures of variants with their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, number
from airflow_provider_ampexp.guardrails._multinomial import p_value
from airflow_provider_ampexp.guardrails._warehouse import QueryGuardrail, as_number
from airflow_provider_ampexp.rollout._vocabulary import Verdict


@dataclass(frozen=True)
class SampleRatioGuardrail(QueryGuardrail):
    """Fail if the exposures of the variants do not match the flag's weights.

    A mismatch means that users of one variant are lost: by a crash, a redirect, a lost event. Measurements of such
    variants are not valid. The test is sequential (see ``_multinomial.py``): over all looks together, a correct split
    fails with a probability of at most ``alpha``.

    :param conn_id: a connection whose hook is a ``DbApiHook``
    :param sql: returns a row for each variant: its key, and the number of *different users* exposed since a fixed time
        such as ``{{ stage_started_at }}``. Exclude users who got a variant by an inclusion. Templated as the query of
        :class:`~airflow_provider_ampexp.guardrails.SqlGuardrail`.
    :param name: the name in logs
    :param alpha: the probability of a false alarm over all looks that count from the same time
    :param min_per_variant: inconclusive until each variant should have this many exposures
    :param no_data: the meaning of no exposures: ``"rollback"``, ``"hold"`` or ``"pass"``
    :param no_data_grace: the time after the start of the stage during which no or too few exposures do not count
        towards a limit: a ``timedelta``, or a text such as ``"2h"``; default: none
    :param variant: the value of ``{{ variant }}``
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

    The result's value is ``min(1, 1 / BF)``, which is small for a wrong split. The test needs no memory of earlier
    looks: the smallest value of all looks is ``alpha`` or less only if one look failed.
    """

    _: KW_ONLY
    name: str = "sample ratio"
    alpha: float = 0.01
    min_per_variant: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, float) or not 0 < self.alpha < 1:
            raise InvalidInputError("alpha", f"expected a number between 0 and 1, got {self.alpha!r}")
        least = self.min_per_variant
        if isinstance(least, bool) or not isinstance(least, int) or least < 1:
            raise InvalidInputError("min_per_variant", f"expected a whole number, 1 or more, got {least!r}")

    def _judge(self, moment: CheckContext) -> CheckResult:
        """Count the exposures, and compare.

        :raises ValueError: when fewer than two variants have a weight, or the query returns something other than counts
            of the flag's variants
        """
        shares = _shares(moment)
        counts = self.counts(moment)
        unknown = sorted(set(counts) - set(moment.weights))
        if unknown:
            raise ValueError(f"expected variants of the flag ({_listed(moment.weights)}), got {_listed(unknown)}")
        exposures = sum(counts.values())
        if not exposures:
            return self._without_data(moment, "the query has no exposures")
        unwanted = [f"{key!r} has {counts[key]}" for key in counts if counts[key] and key not in shares]
        if unwanted:
            # The weights do not allow this, so no test and no sample size is necessary.
            return CheckResult(Verdict.FAIL, f"variants with a weight of 0 have exposures: {', '.join(unwanted)}", 0.0)
        split = ", ".join(f"{key!r} {counts[key]} (expected {exposures * share:.1f})" for key, share in shares.items())
        if exposures * min(shares.values()) < self.min_per_variant:
            why = f"too few exposures to expect {self.min_per_variant} of each variant: {split}"
            return self._too_little(moment, why, None)
        p = p_value([counts[key] for key in shares], list(shares.values()))
        if p <= self.alpha:
            return CheckResult(Verdict.FAIL, f"the exposures do not match the weights: {split}", p)
        return CheckResult(Verdict.PASS, f"the exposures match the weights: {split}", p)

    def check_query(self, moment: CheckContext) -> None:
        """Run the query, and check its rows. It does not need the weights of the flag.

        :raises ValueError: when a row is not a variant with a count
        """
        self.counts(moment)

    def counts(self, moment: CheckContext) -> Counter[str]:
        """Run the query, and return exposures by variant. Several rows of a variant are added.

        :raises ValueError: when a row is not a variant with a count
        """
        counts: Counter[str] = Counter()
        _, rows = self._rows("sql", self.sql, moment)
        for row in rows:
            if len(row) < 2 or not isinstance(row[0], str):
                raise ValueError(f"expected rows of a variant's key and a count, got {tuple(row)!r}")
            count = as_number(f"the count of {row[0]!r}", row[1])
            if count < 0 or not count.is_integer():
                raise ValueError(f"expected a count of {row[0]!r}, got {number(count)}")
            counts[row[0]] += int(count)
        return counts


def _shares(moment: CheckContext) -> dict[str, float]:
    """Return the expected shares of the variants with a weight."""
    weights = {key: float(weight) for key, weight in moment.weights.items() if weight > 0}
    if len(weights) < 2:
        raise ValueError(f"expected two variants with weights, got {dict(moment.weights)}")
    total = sum(weights.values())
    return {key: weight / total for key, weight in weights.items()}


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, keys)) or "none"
