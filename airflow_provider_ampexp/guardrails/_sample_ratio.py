"""A guardrail that compares who got which variant with the variants' weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._base import CheckContext, CheckResult, number
from airflow_provider_ampexp.guardrails._multinomial import p_value
from airflow_provider_ampexp.guardrails._warehouse import QueryGuardrail, as_number


@dataclass(frozen=True)
class SampleRatioGuardrail(QueryGuardrail):
    """Fails when the exposures are not split between the variants as the flag's weights say.

    A wrong split means that something loses users of one variant: a crash, a redirect, a lost event. What is measured
    on such variants says nothing. The test is sequential (see ``multinomial.py``): at every look taken together, a
    right split fails with a probability of at most ``alpha``.

    :param conn_id: a connection whose hook is a ``DbApiHook``
    :param sql: gives a row for each variant: its key, and how many *different users* were exposed to it since some
        fixed moment, such as ``{{ stage_started_at }}``. Users who got a variant by an inclusion are to be left out.
        Templated as the query of :class:`~airflow_provider_ampexp.guardrails.SqlGuardrail` is.
    :param name: what logs call it
    :param alpha: how likely a false alarm may be over all looks that count from the same moment
    :param min_per_variant: it is inconclusive until the exposures are so many that each variant should have this many
    :param no_data: what no exposures at all mean: ``"rollback"``, ``"hold"`` or ``"pass"``
    :param no_data_grace: how long after the stage began no exposures and too few are only waited for and count towards
        no limit: a ``timedelta``, or a text such as ``"2h"``; nothing if not given
    :param variant: what ``{{ variant }}`` is
    :param effect: ``"rollback"``, or ``"hold"`` to only stop raising until it recovers
    :param dry_run: report and never act
    :param failure_limit: this many fails in a row have the effect
    :param inconclusive_limit: so do this many inconclusive answers in a row
    :param error_limit: so does raising this many times in a row
    :param timeout: how long a check may take: a ``timedelta`` or a text such as ``"5m"``. Past it the answer
        is an error.
    :raises InvalidInputError: names the argument that is wrong

    The answer's value is ``min(1, 1 / BF)``, which is small when the split is wrong. It needs no memory of earlier
    looks: the smallest value of all looks is ``alpha`` or less just when one of them was, and that one has failed.
    """

    _: KW_ONLY
    name: str = "sample ratio"
    alpha: float = 0.01
    min_per_variant: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, float) or not 0 < self.alpha < 1:
            raise InvalidInputError("alpha", f"{self.alpha!r} is not a number between 0 and 1")
        least = self.min_per_variant
        if isinstance(least, bool) or not isinstance(least, int) or least < 1:
            raise InvalidInputError("min_per_variant", f"{least!r} is not a whole number, 1 or more")

    def check(self, moment: CheckContext) -> CheckResult:
        """Count the exposures, and compare.

        :raises ValueError: when fewer than two variants have a weight, the query gives something else than variants
            with counts, or one of its variants is none of the flag's
        """
        shares = _shares(moment)
        counts = self.counts(moment)
        unknown = sorted(set(counts) - set(moment.weights))
        if unknown:
            raise ValueError(f"the query counts {_listed(unknown)}, and the flag has {_listed(moment.weights)}")
        exposures = sum(counts.values())
        if not exposures:
            return self._without_data(moment, "the query counts no exposures")
        unwanted = [f"{key!r} has {counts[key]}" for key in counts if counts[key] and key not in shares]
        if unwanted:
            # Under the weights this cannot happen, so it needs no test and no sample.
            return CheckResult("fail", f"variants with a weight of 0 have exposures: {', '.join(unwanted)}", 0.0)
        split = ", ".join(f"{key!r} {counts[key]} (expected {exposures * share:.1f})" for key, share in shares.items())
        if exposures * min(shares.values()) < self.min_per_variant:
            why = f"too few exposures to expect {self.min_per_variant} of each variant: {split}"
            return self._too_little(moment, why, None)
        p = p_value([counts[key] for key in shares], list(shares.values()))
        if p <= self.alpha:
            return CheckResult("fail", f"the exposures are not split as the weights say: {split}", p)
        return CheckResult("pass", f"nothing speaks against the weights: {split}", p)

    def counts(self, moment: CheckContext) -> Counter[str]:
        """Run the query: exposures by variant. A variant with several rows has their sum.

        :raises ValueError: when a row is something else than a variant with a count
        """
        counts: Counter[str] = Counter()
        _, rows = self._rows("sql", self.sql, moment)
        for row in rows:
            if len(row) < 2 or not isinstance(row[0], str):
                raise ValueError(f"expected rows of a variant's key and a count, got {tuple(row)!r}")
            count = as_number(f"the count of {row[0]!r}", row[1])
            if count < 0 or not count.is_integer():
                raise ValueError(f"the count of {row[0]!r} is {number(count)}, which is no count")
            counts[row[0]] += int(count)
        return counts


def _shares(moment: CheckContext) -> dict[str, float]:
    """Which share of the exposures each variant should have, without those that should have none."""
    weights = {key: float(weight) for key, weight in moment.weights.items() if weight > 0}
    if len(weights) < 2:
        raise ValueError(f"a split needs two variants with weights, and the flag has {dict(moment.weights)}")
    total = sum(weights.values())
    return {key: weight / total for key, weight in weights.items()}


def _listed(keys: Iterable[str]) -> str:
    return ", ".join(map(repr, keys)) or "none"
