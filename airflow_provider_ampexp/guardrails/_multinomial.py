"""A test of counts against expected shares that stays right however often one looks.

M. Lindon and A. Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022, arXiv 2011.03567.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, log

# How sure the prior is that the true shares are near the expected ones. Any value is valid; it only decides which
# deviations are found soonest. For 50/50, at alpha 0.01, a 60/40 split is found after some 310 users, and 52/48 after
# some 7,000. Ten times more finds 60/40 only after twice as many, and 52/48 no sooner.
CONCENTRATION = 100.0


def log_bayes_factor(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """The logarithm of how much more likely the counts are under "some other shares" than under the expected ones.

    With counts ``x_i``, their sum ``n``, expected shares ``s_i`` and ``a_i = concentration * s_i``, the other shares
    follow a Dirichlet distribution with the parameters ``a_i``, which is centred on the expected ones, and so::

        BF = gamma(sum a) / gamma(sum a + n)  *  product of gamma(a_i + x_i) / gamma(a_i)  /  product of s_i ** x_i

    While the expected shares hold, BF is a martingale that begins at 1. So the chance that it *ever* reaches
    ``1 / alpha`` is at most ``alpha`` (Ville's inequality), however often one looks.

    :param counts: how many fell to each
    :param shares: which share of them was expected, each more than 0; their sum is 1
    :param concentration: how sure the prior is that the true shares are near the expected ones; see ``CONCENTRATION``
    """
    n = sum(counts)
    total = lgamma(concentration) - lgamma(concentration + n)
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        total += lgamma(prior + count) - lgamma(prior) - count * log(share)
    return total


def p_value(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """``min(1, 1 / BF)``. Its minimum over all looks is the sequential p-value; reject when that is alpha or less."""
    return exp(min(0.0, -log_bayes_factor(counts, shares, concentration)))
